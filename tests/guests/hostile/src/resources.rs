//! Time, memory, output, and what the world outside has left lying about.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Outcome, Wish};

pub(crate) fn attack(name: &str, wish: &Wish) -> Option<Outcome> {
    Some(match name {
        "spin" => spin(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(wish.number("ms")));
            Ok(Value::Null)
        }
        "recurse" => Ok(json!(recurse(wish.number("times").max(1)))),
        "allocate" => allocate(),
        "panic" => panic!("{}", wish.text("text")),
        "output" => Ok(json!("x".repeat(wish.number("bytes") as usize))),
        "print" => Ok(print(wish)),
        "environment" => Ok(environment()),
        _ => return None,
    })
}

pub(crate) fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

#[expect(unconditional_recursion, reason = "it is the attack")]
fn recurse(depth: u64) -> u64 {
    let deeper = recurse(std::hint::black_box(depth + 1));
    std::hint::black_box(deeper + depth)
}

fn allocate() -> Outcome {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// To both streams, which a host may have forgotten.
fn print(wish: &Wish) -> Value {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut failed = 0;
    for _ in 0..wish.number("times").max(1) {
        failed += u64::from(writeln!(out, "{}", wish.text("text")).is_err());
        failed += u64::from(writeln!(err, "{}", wish.text("text")).is_err());
    }
    json!(failed)
}

fn environment() -> Value {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap_or_default();
    let variables: Vec<_> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    json!({"arguments": std::env::args().collect::<Vec<_>>(), "variables": variables, "input": read})
}
