//! What a plugin asks for, in words that an operator understands without knowing the contract.

use vivarium_domain::{FileAccess, HostRequest, Manifest, PluginLimits};

/// What it will ask of an operator, a sentence each.
pub(crate) fn asks(manifest: &Manifest) -> Vec<String> {
    let requests = &manifest.requests;
    let mut asks: Vec<String> = requests.hosts.iter().map(host).collect();
    if !requests.secrets.is_empty() {
        let names: Vec<&str> = requests.secrets.iter().map(vivarium_domain::SecretName::as_str).collect();
        let what = if names.len() == 1 { "the secret" } else { "the secrets" };
        let how = "the host puts it into requests, and the plugin never sees it";
        asks.push(format!("It wants to use {what} {}: {how}.", listed(&names)));
    }
    if !requests.settings.is_empty() {
        let names: Vec<&str> = requests.settings.iter().map(String::as_str).collect();
        let what = if names.len() == 1 { "the setting" } else { "the settings" };
        asks.push(format!("It wants to be told {what} {}.", listed(&names)));
    }
    match requests.files {
        Some(FileAccess::Read) => asks.push("It wants to read the files of the session's workspace.".to_owned()),
        Some(FileAccess::Write) => {
            asks.push("It wants to read, make, change and remove files of the session's workspace.".to_owned());
        }
        None => {}
    }
    if requests.corpus {
        asks.push("It wants to search and read the tenant's documents.".to_owned());
    }
    if requests.state {
        asks.push("It wants to keep data between calls.".to_owned());
    }
    if requests.programs {
        asks.push("It wants to run programs in the sandbox, within its own limits.".to_owned());
    }
    if requests.model {
        asks.push("It wants to ask the run's language model, which costs what the model costs.".to_owned());
    }
    asks.extend(limits(&manifest.limits));
    asks
}

fn host(request: &HostRequest) -> String {
    let methods: Vec<&str> = request.methods.iter().map(String::as_str).collect();
    let what = if methods.is_empty() { "requests of any method".to_owned() } else { listed(&methods) };
    let (name, port) = match request.host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, format!(" on port {port}")),
        _ => (request.host.as_str(), String::new()),
    };
    let whom = match name.strip_prefix("*.") {
        Some(parent) => format!("every subdomain of {parent}"),
        None if name == "*" => "every public host".to_owned(),
        None => name.to_owned(),
    };
    format!("It wants to send {what} to {whom}{port}.")
}

fn limits(limits: &PluginLimits) -> Vec<String> {
    let wishes = [
        (limits.wall_ms.map(milliseconds), "for a call, waiting included"),
        (limits.cpu_ms.map(milliseconds), "of processor time for a call"),
        (limits.memory_bytes.map(bytes), "of memory"),
        (limits.table_elements.map(|n| n.to_string()), "table elements"),
        (limits.output_bytes.map(bytes), "of output"),
        (limits.host_calls.map(|n| n.to_string()), "calls of the host in one call"),
        (limits.log_lines.map(|n| n.to_string()), "lines of log in one call"),
        (limits.handles.map(|n| n.to_string()), "handles at one time"),
        (limits.egress_requests.map(|n| n.to_string()), "requests over the network in one call"),
        (limits.egress_bytes.map(bytes), "over the network in one call"),
        (limits.file_bytes.map(bytes), "of files"),
        (limits.files.map(|n| n.to_string()), "files"),
        (limits.state_bytes.map(bytes), "of kept data"),
    ];
    wishes.into_iter().filter_map(|(much, what)| Some(format!("It would like up to {} {what}.", much?))).collect()
}

fn milliseconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

/// A size as a person says it.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        _ => {
            let tenths = bytes.saturating_mul(10).div_ceil(MIB);
            if tenths.is_multiple_of(10) {
                format!("{} MiB", tenths / 10)
            } else {
                format!("{}.{} MiB", tenths / 10, tenths % 10)
            }
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operator_reads_plain_sentences() {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": "a/b", "version": "1.0.0", "contract": "0.1.0", "description": "x",
            "requests": {
                "hosts": [
                    "*", "*.example.com:8443", "[::1]:8080",
                    {"host": "api.example.com", "methods": ["GET", "POST"]}
                ],
                "secrets": ["key"], "settings": ["base_url", "unit"], "files": "write",
                "corpus": true, "state": true, "model": true
            },
            "limits": {"wallMs": 10_000, "cpuMs": 1_500, "memoryBytes": 268_435_456, "outputBytes": 100, "stateBytes": 1_500_000}
        }))
        .unwrap();
        insta::assert_snapshot!(asks(&manifest).join("\n"), @"
        It wants to send requests of any method to every public host.
        It wants to send requests of any method to every subdomain of example.com on port 8443.
        It wants to send requests of any method to [::1] on port 8080.
        It wants to send GET and POST to api.example.com.
        It wants to use the secret key: the host puts it into requests, and the plugin never sees it.
        It wants to be told the settings base_url and unit.
        It wants to read, make, change and remove files of the session's workspace.
        It wants to search and read the tenant's documents.
        It wants to keep data between calls.
        It wants to ask the run's language model, which costs what the model costs.
        It would like up to 10 s for a call, waiting included.
        It would like up to 1500 ms of processor time for a call.
        It would like up to 256 MiB of memory.
        It would like up to 100 bytes of output.
        It would like up to 1.5 MiB of kept data.
        ");
    }
}
