//! Components that attack who installs them: by their size, by what they say of themselves, and by what it takes to look at them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vivarium_tests::Host;
use vivarium_tests::guest::{self, ECHO, append_section, tool, tool_plugin, tool_plugin_as};

use super::{Arena, Seen, Service, error, refusal, text_answer};

async fn arena(config: &str) -> Arena {
    Arena::empty(config, |builder| builder).await
}

/// The status and the words of an install that is refused.
async fn refused(arena: &Arena, component: Vec<u8>) -> (u16, String) {
    let (status, told) = arena.host.install_as(&arena.evil, "/v1/plugins", component).await;
    assert!((400..500).contains(&status), "{status} {told}\n{}", arena.host.log());
    (status, refusal(&told).to_owned())
}

fn with_schema(schema: Value) -> Vec<u8> {
    let mut picky = tool("picky");
    picky["inputSchema"] = schema;
    tool_plugin_as(json!({"name": "evil/schema", "tools": [picky]}), "", "", ECHO)
}

#[tokio::test]
async fn a_component_of_fifty_megabytes_is_refused() {
    let arena = arena("").await;
    let mut large = tool_plugin("", "", ECHO);
    append_section(&mut large, "padding", &vec![0; 50 << 20]);
    let (status, told) = refused(&arena, large).await;
    assert_eq!(status, 413, "{told}");
    assert!(told.contains("50331648"), "it names the limit: {told}");
    arena.is_whole().await;
}

/// A component whose code is nothing but work for a compiler, and another one each time: what another test has compiled is known.
fn slow_to_compile() -> Vec<u8> {
    let mut body = String::from("(local $a i64) ");
    for number in 0..6_000 {
        let _ = write!(
            body,
            "(if (i64.eqz (local.get $a)) (then (local.set $a (i64.add (local.get $a) (i64.const {number})))) \
             (else (local.set $a (i64.mul (local.get $a) (i64.const {number}))))) "
        );
    }
    let mut functions = String::new();
    for number in 0..40 {
        let _ = write!(functions, "(func (export \"f{number}\") {body}) ");
    }
    let mut component = tool_plugin_as(json!({"name": "evil/slow"}), "", &functions, ECHO);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    append_section(&mut component, "made", &now.as_nanos().to_le_bytes());
    component
}

#[tokio::test]
async fn a_component_that_takes_long_to_compile_is_given_up_and_nobody_waits_for_it() {
    let arena = arena("compile_seconds = 1").await;
    let component = slow_to_compile();
    let began = Instant::now();
    let install = refused(&arena, component.clone());
    let meanwhile = async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            arena.is_whole().await;
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        longest
    };
    let ((status, told), longest) = tokio::join!(install, meanwhile);
    eprintln!("given up after {:?}; the neighbour waited for at most {longest:?}", began.elapsed());
    assert!(status == 422 && told.contains("compil"), "{status} {told}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert_eq!(children(arena.host.pid()), Vec::<u32>::new(), "no compiler is left running");
    arena.is_whole().await;
}

/// The processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
    }
    found
}

#[tokio::test]
async fn installs_of_one_tenant_in_great_number_leave_room_for_its_neighbours() {
    let arena = arena("compile_seconds = 1").await;
    let one = |number: u32| {
        let mut component = slow_to_compile();
        append_section(&mut component, "number", number.to_string().as_bytes());
        arena.host.install_as(&arena.evil, "/v1/plugins", component)
    };
    let flood = futures::future::join_all((0..8).map(one));
    let neighbour = async {
        let mine = tool_plugin_as(json!({"name": "good/second", "tools": [tool("second")]}), "", "", ECHO);
        let began = Instant::now();
        loop {
            let (status, told) = arena.host.install_as(&arena.good, "/v1/plugins", mine.clone()).await;
            match status {
                201 => return began.elapsed(),
                // It is asked to come again, and does.
                429 | 503 => tokio::time::sleep(Duration::from_millis(200)).await,
                _ => panic!("{status} {told}"),
            }
            assert!(began.elapsed() < Duration::from_secs(50), "the neighbour's install was never taken");
        }
    };
    let (flood, waited) = tokio::join!(flood, neighbour);
    eprintln!("the neighbour's install was taken after {waited:?}");
    for (status, told) in flood {
        assert!(matches!(status, 422 | 429 | 503), "{status} {told}");
    }
    arena.is_whole().await;
    assert_eq!(children(arena.host.pid()), Vec::<u32>::new());
}

#[tokio::test]
async fn the_first_call_after_a_restart_waits_for_nobodys_install() {
    let before = arena("").await;
    let (evil, operator, good) = (before.evil.clone(), before.operator.clone(), before.good.clone());
    let data = before.host.kill().await;
    let host = Host::builder().data(data).start().await;
    let arena = Arena { host, evil, operator, good };
    let install = arena.host.install_as(&arena.evil, "/v1/plugins", slow_to_compile());
    let first_call = async {
        // The compiler is at work: whoever needs it waits.
        while children(arena.host.pid()).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let began = Instant::now();
        arena.is_whole().await;
        (began.elapsed(), children(arena.host.pid()).len())
    };
    let ((status, told), (waited, compilers)) = tokio::join!(install, first_call);
    eprintln!("the first call was answered after {waited:?}");
    assert!(matches!(status, 201 | 422), "{status} {told}");
    assert_eq!(compilers, 1, "the install was over before the call was answered");
}

#[tokio::test]
async fn a_forged_manifest_is_refused() {
    let arena = arena("").await;
    let good = || tool_plugin("", "", ECHO);
    let mut two = good();
    append_section(&mut two, "vivarium:manifest", br#"{"name":"evil/second"}"#);
    let (_, told) = refused(&arena, two).await;
    assert!(told.contains("two manifests"), "{told}");

    let mut long = tool("long");
    long["description"] = json!("x".repeat(300 << 10));
    let (_, told) = refused(&arena, tool_plugin_as(json!({"tools": [long]}), "", "", ECHO)).await;
    assert!(told.contains("at most 262144 are allowed"), "{told}");

    let many: Vec<_> = (0..65).map(|number| tool(&format!("t{number}"))).collect();
    let (_, told) = refused(&arena, tool_plugin_as(json!({"tools": many}), "", "", ECHO)).await;
    assert!(told.contains("at most 64 are allowed"), "{told}");

    for fields in [
        json!({"name": "../../etc"}),
        json!({"name": "a/b/c"}),
        json!({"name": "a/\u{1b}[2J"}),
        json!({"name": "A/B"}),
        json!({"name": "a/b\u{202e}"}),
        json!({"version": "1.0.0/../../x"}),
        json!({"version": "latest"}),
        json!({"tools": []}),
        json!({"tools": [tool("x"), tool("x")]}),
        json!({"tools": [tool("../x")]}),
        json!({"tools": [tool("x\n")]}),
        json!({"requests": {"hosts": ["http://127.0.0.1/"]}}),
        json!({"requests": {"secrets": ["../other"]}}),
        json!({"requests": {"files": "all"}}),
        json!({"requests": {"admin": true}}),
        json!({"limits": {"wallMs": -1}}),
        json!({"grants": {"hosts": ["*"]}}),
    ] {
        let (_, told) = refused(&arena, tool_plugin_as(fields.clone(), "", "", ECHO)).await;
        assert!(!told.contains('\u{1b}') && told.len() < 2_000, "{fields}: {told}");
    }
    assert!(!arena.host.log().contains('\u{1b}'));
    arena.is_whole().await;
}

#[tokio::test]
async fn a_schema_is_no_program_for_the_host_to_run() {
    fn schema(_request: &Seen) -> axum::response::Response {
        text_answer(r#"{"type":"object"}"#)
    }
    let service = Service::start(schema).await;
    let arena = arena("").await;
    let mut wide = json!({"type": "object", "properties": {}});
    for number in 0..100_000 {
        wide["properties"][format!("a-property-with-a-long-name-{number}")] = json!({"type": "string"});
    }
    let (_, told) = refused(&arena, with_schema(wide)).await;
    assert!(told.contains("are allowed"), "{told}");

    let mut deep = json!({"type": "object"});
    for _ in 0..100 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    refused(&arena, with_schema(deep)).await;

    let url = format!("http://{}/schema.json", service.place());
    for keyword in ["$ref", "$schema", "$dynamicRef"] {
        refused(&arena, with_schema(json!({"type": "object", keyword: url}))).await;
    }
    let below = json!({"type": "object", "properties": {"a": {"$ref": url}}});
    refused(&arena, with_schema(below)).await;
    for file in ["file:///etc/passwd", "/etc/passwd", "../x.json"] {
        refused(&arena, with_schema(json!({"type": "object", "$ref": file}))).await;
    }
    assert!(service.seen().is_empty(), "{:?}", service.seen());

    // One value, visited 2^60 times.
    let mut doubling = json!({"type": "object", "$defs": {"d60": {"type": "object"}}, "$ref": "#/$defs/d0"});
    for level in 0..60 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        doubling["$defs"][format!("d{level}")] = json!({"allOf": [next, next]});
    }
    refused(&arena, with_schema(doubling)).await;
    arena.is_whole().await;
}

#[tokio::test]
async fn an_expression_that_would_backtrack_for_ever_is_matched_at_once_or_refused() {
    let arena = arena("").await;
    for (number, pattern) in ["^(a+)+$", "^(a|a)*$", "^(.*a){20}$", "(x+x+)+y", "(?=a)b", r"(a)\1"].iter().enumerate() {
        let mut picky = tool(&format!("picky{number}"));
        picky["inputSchema"] = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}});
        let fields = json!({"name": format!("evil/regex{number}"), "tools": [picky]});
        let (status, told) =
            arena.host.install_as(&arena.evil, "/v1/plugins", tool_plugin_as(fields, "", "", ECHO)).await;
        if status != 201 {
            assert_eq!(status, 422, "{pattern}: {told}");
            continue;
        }
        let text = format!("{}!", "a".repeat(2_000) + &"x".repeat(2_000));
        let began = Instant::now();
        let (status, answer) = arena.call(&arena.evil, &format!("picky{number}"), &json!({"a": text}), None).await;
        assert_eq!(status, 200, "{pattern}: {answer}");
        assert!(error(&answer).contains("invalid arguments"), "{pattern}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{pattern} took {:?}", began.elapsed());
    }
    arena.is_whole().await;
}

#[tokio::test]
async fn nothing_of_a_guest_runs_when_it_is_installed() {
    let arena = arena("tool_limits = { cpu_ms = 100 }").await;
    let start = "(func $start (loop $for_ever (br $for_ever))) (start $start)";
    let component = tool_plugin_as(json!({"name": "evil/start", "tools": [tool("start")]}), "", start, ECHO);
    let began = Instant::now();
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", component).await.0, 201);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let (_, answer) = arena.call(&arena.evil, "start", &json!({}), None).await;
    assert_eq!(error(&answer), "the plugin used more than 100 ms of processor time and was stopped");
    arena.is_whole().await;
}

#[tokio::test]
async fn a_component_that_asks_for_too_much_from_the_start_is_refused_or_its_call_is() {
    let arena = arena("").await;
    let cases = [
        ("memory", "(memory $more 30000)"),
        ("table", "(table $large 10000000 funcref)"),
        ("tables", &"(table 10 funcref) ".repeat(90)),
        ("segment", r#"(data (i32.const 2000000000) "x")"#),
    ];
    for (name, more) in cases {
        let fields = json!({"name": format!("evil/{name}"), "tools": [tool(name)]});
        let Some(component) = std::panic::catch_unwind(|| tool_plugin_as(fields, "", more, ECHO)).ok() else {
            continue;
        };
        let (status, told) = arena.host.install_as(&arena.evil, "/v1/plugins", component).await;
        if status == 201 {
            let (status, answer) = arena.call(&arena.evil, name, &json!({}), None).await;
            assert!(status == 200 && answer["error"].is_string(), "{name}: {status} {answer}");
        } else {
            assert_eq!(status, 422, "{name}: {told}");
        }
        arena.is_whole().await;
    }
}

#[tokio::test]
async fn a_broken_component_is_refused_wherever_it_is_broken() {
    let arena = arena("").await;
    let good = tool_plugin("", "", ECHO);
    let step = (good.len() / 60).max(1);
    for at in (8..good.len()).step_by(step) {
        refused(&arena, good[..at].to_vec()).await;
        let mut flipped = good.clone();
        flipped[at] ^= 0xff;
        // A flipped bit of a name or of the manifest may be as good as the other.
        let (status, told) = arena.host.install_as(&arena.evil, "/v1/plugins", flipped).await;
        assert!(status < 500, "byte {at}: {status} {told}");
    }
    // A section that says that it has four gigabytes.
    let endless = [&good[..8], &[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, b'x']].concat();
    refused(&arena, endless).await;
    // Components within components.
    let mut nested = good;
    for _ in 0..70 {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        outer.push(4);
        leb128(&mut outer, nested.len());
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    refused(&arena, nested).await;
    arena.is_whole().await;
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[tokio::test]
async fn a_tenant_installs_no_more_plugins_than_it_may() {
    let arena = arena("max_plugins = 2").await;
    let one = |number: u32| {
        tool_plugin_as(json!({"name": format!("evil/p{number}"), "tools": [tool(&format!("t{number}"))]}), "", "", ECHO)
    };
    for number in 0..2 {
        assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", one(number)).await.0, 201);
    }
    let (_, told) = refused(&arena, one(2)).await;
    assert!(told.contains("2 plugins are installed"), "{told}");
    let (status, _) = arena.host.install_as(&arena.good, "/v1/plugins", one(2)).await;
    assert_eq!(status, 201, "that is one tenant's bound, not all tenants'");
}

#[tokio::test]
async fn a_component_that_imports_what_no_host_has_is_refused() {
    let arena = arena("").await;
    // A well-formed component of another world: it exports a tool, and imports more than the contract.
    let fields = json!({"requests": {}});
    let (_, told) = refused(&arena, guest::hostile(&fields)).await;
    assert!(told.contains("its manifest does not ask for it: set `requests."), "{told}");
    arena.is_whole().await;
}
