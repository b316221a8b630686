//! LEAD'S NOTE to the server's author (delete): build.rs, corpus.rs (CorpusView over vivarium_corpus) and plugins.rs
//! (embedded + `--plugin FILE` components, first-party grants, Registry) are written by the lead; keep them. Yours:
//! config.rs (with `WebConfig { fetch: bool, search: Option<WebSearchEngine>, dangerously_allow_private_addresses:
//! Vec<HostPort> }` and `enum WebSearchEngine { Searxng{base_url: Url}, Brave{base_url: Url, key: SecretString},
//! Tavily{..} }` with name() and base_url(); `plugins: Vec<PathBuf>` files from config/`--plugin FILE` (repeatable);
//! `runs.*` limits), the wiring (Sandbox::new, plugins::load in spawn_blocking, SledStore::open, Models::new,
//! Runs::new + recover(), ApiState), CLI, keys/tenants, serving, drain. host/runs and host/sandbox are real now.
