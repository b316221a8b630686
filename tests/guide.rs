//! The documents are true. `docs/writing-a-plugin.md` is typed as a newcomer types it: its every command, in order, in one shell,
//! in an empty folder, with the real binary and a real server. What the guide shows of an output has to stand there. And
//! `docs/configuration.md` has each key and limit that the binary prints, with its default.
//!
//! The guide's folder and what cargo builds in it are in `target/guide`, and not in a temporary folder as with other tests: two
//! small plugins with all that they depend on take minutes to compile, and a second run finds the dependencies built. The
//! network is needed for crates.io alone, once.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use vivarium_tests::{Cli, Host, repository_root, vivarium_binary};

/// Marks in the output where a block begins.
const MARK: &str = "=== block ";

/// How long the whole guide may take on a machine that has nothing built and other things to do.
const LONGEST: Duration = Duration::from_secs(1200);

/// A fenced block of the guide.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// `sh`: typed. `text` and `json`: what the block before it has printed. Others are for reading.
    kind: &'a str,
    text: &'a str,
    line: usize,
}

fn blocks(guide: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let mut at = 0;
    for (number, line) in guide.split_inclusive('\n').enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            open = match open {
                None => Some((info.trim(), at + line.len(), number + 1)),
                Some((kind, start, line)) => {
                    found.push(Block { kind, text: &guide[start..at], line });
                    None
                }
            };
        }
        at += line.len();
    }
    assert!(open.is_none(), "the guide's last block is not closed");
    found
}

/// One script of all commands, which says where it is.
fn script(blocks: &[Block<'_>]) -> String {
    let typed = blocks.iter().enumerate().filter(|(_, block)| block.kind == "sh");
    typed.map(|(number, block)| format!("echo '{MARK}{number}'\n{}", block.text)).collect()
}

/// What the script has printed while it was in a block.
fn printed(all: &str, number: usize) -> &str {
    let mark = format!("{MARK}{number}\n");
    let text = all.split_once(&mark).map_or("", |(_, after)| after);
    text.split(MARK).next().unwrap_or_default()
}

/// `target/guide`, with an empty folder to work in.
fn folders() -> (PathBuf, PathBuf) {
    let binary = vivarium_binary();
    let guide = binary.ancestors().nth(2).expect("a binary stands in target/<profile>").join("guide");
    let (work, target) = (guide.join("work"), guide.join("target"));
    if work.exists() {
        fs::remove_dir_all(&work).unwrap();
    }
    fs::create_dir_all(&work).unwrap();
    (work, target)
}

/// A program as a person starts it: without what the cargo that runs this test says about itself.
fn started_by_a_person(program: &str, folder: &Path, target: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_this_run =
            ["CARGO_PKG_", "CARGO_BIN_", "CARGO_MANIFEST_", "VIVARIUM_"].iter().any(|p| text.starts_with(p));
        if of_this_run
            || matches!(&*text, "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR" | "LD_LIBRARY_PATH")
        {
            command.env_remove(&name);
        }
    }
    let binaries = vivarium_binary().parent().expect("a binary stands in a folder").to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([binaries].into_iter().chain(env::split_paths(&path))).expect("a search path");
    command.env("PATH", path).env("CARGO_TARGET_DIR", target).env("CARGO_TERM_COLOR", "never");
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a script, with all that it prints in the order in which it came.
async fn run(text: &str, folder: &Path, target: &Path, environment: &[(&str, &str)]) -> (ExitStatus, String) {
    // Other tests measure time: what compiles here must not take it from them.
    let mut shell = started_by_a_person("nice", folder, target);
    shell.args(["-n", "15", "sh", "-e", "-c", &format!("exec 2>&1\n{text}")]).envs(environment.iter().copied());
    let output = tokio::time::timeout(LONGEST, shell.output()).await;
    let output = output.unwrap_or_else(|_| panic!("the guide did not end within {LONGEST:?}")).unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the guide takes for granted: rustup's Rust, and a crates.io that answers.
async fn lacks(work: &Path, target: &Path) -> Option<String> {
    let probe = "rustup --version && mkdir -p ../probe/src && cd ../probe && : > src/lib.rs && cat > Cargo.toml <<'END'
[package]
name = \"probe\"
edition = \"2024\"
[dependencies]
wstd = { version = \"=0.6.8\", default-features = false }
[workspace]
END
cargo fetch --quiet";
    let (status, told) = run(probe, work, target, &[]).await;
    (!status.success()).then(|| format!("crates.io can not be reached, or there is no rustup:\n{told}"))
}

/// A CI must not become green by what it lacks.
fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

#[tokio::test]
async fn every_command_of_the_guide_works_and_prints_what_the_guide_shows() {
    let (work, target) = folders();
    if let Some(reason) = lacks(&work, &target).await {
        assert!(!is_ci(), "{reason}");
        eprintln!("left out: the guide was not typed, because {reason}");
        return;
    }
    let guide = fs::read_to_string(repository_root().join("docs/writing-a-plugin.md")).unwrap();
    let blocks = blocks(&guide);
    let host = Host::builder().start().await;
    let environment = [("VIVARIUM_URL", host.address()), ("VIVARIUM_KEY", host.key())];
    let (status, all) = run(&script(&blocks), &work, &target, &environment).await;
    if !status.success() {
        let last = all.rsplit_once(MARK).and_then(|(_, rest)| rest.split('\n').next()?.parse::<usize>().ok());
        let failed = last.and_then(|number| Some((number, blocks.get(number)?)));
        let (number, block) = failed.unwrap_or_else(|| panic!("{status}, before the first block:\n{all}"));
        let (line, typed) = (block.line, block.text);
        panic!(
            "docs/writing-a-plugin.md, line {line}: {status}\n{typed}\nIt printed:\n{}\nThe server said:\n{}",
            printed(&all, number),
            host.log()
        );
    }
    let mut compared = 0;
    for (number, shown) in blocks.iter().enumerate().filter(|(_, block)| matches!(block.kind, "text" | "json")) {
        let before = number.checked_sub(1).filter(|before| blocks[*before].kind == "sh");
        let before =
            before.unwrap_or_else(|| panic!("line {}: an output without the commands that print it", shown.line));
        let real = printed(&all, before);
        assert!(real.contains(shown.text), "line {}: the guide shows\n{}\nand it is\n{real}", shown.line, shown.text);
        compared += 1;
    }
    assert!(compared >= 2, "the guide shows the output of the call and of the check");
    let call = blocks.iter().position(|block| block.kind == "sh" && block.text.contains("plugin call")).unwrap();
    assert_eq!(blocks[call + 1].kind, "json", "the guide shows what the call answers");
    assert!(printed(&all, call).ends_with(blocks[call + 1].text), "{}", printed(&all, call));
}

#[test]
fn the_guides_blocks_are_told_apart() {
    let guide = "a\n```sh\nb\nc\n```\n\n```text\nd\n```\n```sh\ne\n```\n";
    let found = blocks(guide);
    let kinds: Vec<_> = found.iter().map(|block| (block.kind, block.text, block.line)).collect();
    assert_eq!(kinds, [("sh", "b\nc\n", 2), ("text", "d\n", 7), ("sh", "e\n", 10)]);
    let script = script(&found);
    assert_eq!(script, "echo '=== block 0'\nb\nc\necho '=== block 2'\ne\n");
    assert_eq!(printed("=== block 0\nx\n=== block 2\ny\n", 0), "x\n");
    assert_eq!(printed("=== block 0\nx\n=== block 2\ny\n", 2), "y\n");
}

/// The configuration as the binary prints it: by table, then by key; what stands in no table is in the one without a name.
fn printed_configuration(text: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut tables: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ") {
            tables.entry(table).or_default().insert(key, value);
        }
    }
    tables
}

/// A limit as a person writes it.
fn in_words(limit: &str, value: &str) -> String {
    let number: u64 = value.parse().unwrap();
    match (number >> 20, number >> 30) {
        (_, gib @ 1..) if limit.ends_with("_bytes") && gib << 30 == number => format!("{gib} GiB"),
        (mib @ 1.., _) if limit.ends_with("_bytes") && mib << 20 == number => format!("{mib} MiB"),
        _ => value.to_owned(),
    }
}

#[tokio::test]
async fn every_key_of_the_configuration_is_written_down_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let printed = Cli::on(folder.path()).output(&["serve", "--print-config"]).await;
    let document = fs::read_to_string(repository_root().join("docs/configuration.md")).unwrap();
    let row = |key: &str| {
        let start = format!("| `{key}` |");
        let row = document.lines().find(|line| line.starts_with(&start));
        row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {key}"))
    };
    let tables = printed_configuration(&printed);
    for (key, value) in &tables[""] {
        let shown = value.trim_matches('"');
        let is_shown = row(key).contains(&format!("| {shown} |")) || row(key).contains(&format!("| `{shown}` |"));
        // The data folder is this test's own, and an empty list is called none.
        assert!(is_shown || *key == "data" || *value == "[]", "{key} = {value} is not in {:?}", row(key));
    }
    let of_a_tier = ["free", "pro", "max", "enterprise"];
    let maxima = of_a_tier.map(|tier| format!("max_limits.{tier}"));
    let columns = ["tool_limits", "mode_limits"].into_iter().chain(maxima.iter().map(String::as_str));
    let columns: Vec<_> = columns.collect();
    assert!(tables["tool_limits"].len() > 10, "{printed}");
    for limit in tables["tool_limits"].keys() {
        let values: Vec<_> = columns.iter().map(|table| in_words(limit, tables[table][limit])).collect();
        let end = format!("| {} |", values.join(" | "));
        assert!(row(limit).ends_with(&end), "{} should end with {end}", row(limit));
    }
    for key in ["requests_per_minute", "tokens_per_minute"] {
        let values = of_a_tier.map(|tier| tables[format!("limits.{tier}").as_str()][key]);
        assert!(row(key).ends_with(&format!("| {} |", values.join(" | "))), "{}", row(key));
    }
}
