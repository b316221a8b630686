//! One model of agents and sessions, four documents of it: what is made through one dialect is listed, run, continued and deleted through
//! each other one, and what was acknowledged through any of them is there after `kill -9`.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel};

/// The dialects that have agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Native,
    Make,
    Hub,
}

const ALL: [Dialect; 3] = [Dialect::Native, Dialect::Make, Dialect::Hub];

/// What a run came to: its answer, and the session that it was in.
struct Ran {
    answer: String,
    session: String,
}

async fn expect(host: &Host, statuses: &[u16], method: Method, path: &str, body: Option<&Value>) -> Value {
    let (status, answer) = host.json(method.clone(), path, body).await;
    assert!(statuses.contains(&status), "{method} {path}: {status} {answer}");
    answer
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Dialect {
    /// Makes an agent, and gives its id.
    async fn make_agent(self, host: &Host, name: &str) -> String {
        let prompt = format!("You are {name}.");
        match self {
            Self::Native => {
                let body = json!({"name": name, "prompt": prompt, "model": "openai/scripted"});
                text(&expect(host, &[201], Method::POST, "/v1/agents", Some(&body)).await["id"])
            }
            Self::Make => {
                let body = json!({
                    "name": name, "teamId": 1, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": prompt
                });
                let path = "/api/v2/ai-agents/v1/agents?teamId=1";
                text(&expect(host, &[201], Method::POST, path, Some(&body)).await["id"])
            }
            Self::Hub => {
                let body = json!({"name": name, "llmProvider": "openai", "llmModel": "scripted", "llmPrompt": prompt});
                text(&expect(host, &[201], Method::POST, "/api/assistants", Some(&body)).await["id"])
            }
        }
    }

    /// An agent's path.
    fn agent(self, id: &str) -> String {
        match self {
            Self::Native => format!("/v1/agents/{id}"),
            Self::Make => format!("/api/v2/ai-agents/v1/agents/{id}?teamId=1"),
            Self::Hub => format!("/api/assistants/{id}"),
        }
    }

    /// The ids of all agents.
    async fn agents(self, host: &Host) -> Vec<String> {
        let answer = match self {
            Self::Native => expect(host, &[200], Method::GET, "/v1/agents?limit=200", None).await["data"].clone(),
            Self::Make => expect(host, &[200], Method::GET, "/api/v2/ai-agents/v1/agents?teamId=1", None).await,
            Self::Hub => expect(host, &[200], Method::GET, "/api/assistants", None).await,
        };
        answer
            .as_array()
            .unwrap_or_else(|| panic!("{answer} is no list"))
            .iter()
            .map(|agent| text(&agent["id"]))
            .collect()
    }

    /// An agent's name and prompt.
    async fn described(self, host: &Host, id: &str) -> (String, String) {
        let agent = expect(host, &[200], Method::GET, &self.agent(id), None).await;
        let prompt = match self {
            Self::Native => "prompt",
            Self::Make => "systemPrompt",
            Self::Hub => "llmPrompt",
        };
        (text(&agent["name"]), text(&agent[prompt]))
    }

    async fn change_prompt(self, host: &Host, id: &str, prompt: &str) {
        let field = match self {
            Self::Native => "prompt",
            Self::Make => "systemPrompt",
            Self::Hub => "llmPrompt",
        };
        expect(host, &[200, 204], Method::PATCH, &self.agent(id), Some(&json!({field: prompt}))).await;
    }

    async fn delete_agent(self, host: &Host, id: &str) {
        expect(host, &[200, 204], Method::DELETE, &self.agent(id), None).await;
    }

    /// Asks an agent, in a session or in a new one.
    async fn run(self, host: &Host, agent: &str, session: Option<&str>, input: &str) -> Ran {
        let (path, mut body, field) = match self {
            Self::Native => ("/v1/runs".to_owned(), json!({"input": input, "agentId": agent}), "sessionId"),
            Self::Make => {
                let body = json!({"messages": [{"role": "user", "content": input}]});
                (format!("/api/v2/ai-agents/v1/agents/{agent}/run?teamId=1"), body, "threadId")
            }
            Self::Hub => (format!("/api/assistants/{agent}/user-input"), json!({"userInput": input}), "sessionId"),
        };
        if let Some(session) = session {
            body[field] = json!(session);
        }
        let answer = expect(host, &[200], Method::POST, &path, Some(&body)).await;
        let (said, session) = match self {
            Self::Native => (&answer["outcome"]["answer"], &answer["sessionId"]),
            Self::Make => (&answer["response"], &answer["threadId"]),
            Self::Hub => (&answer["content"][0]["text"]["value"], &answer["session_id"]),
        };
        Ran { answer: text(said), session: text(session) }
    }
}

async fn answering() -> (ScriptedModel, Host) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).start().await;
    (model, host)
}

/// All that the model was told in its last call.
fn last_told(model: &ScriptedModel) -> String {
    model.requests().last().expect("the model was asked")["messages"].to_string()
}

#[tokio::test]
async fn an_agent_of_each_dialect_is_listed_run_changed_and_deleted_through_each_other_one() {
    let (model, host) = answering().await;
    for maker in ALL {
        for user in ALL {
            let name = format!("{maker:?}-{user:?}");
            let id = maker.make_agent(&host, &name).await;
            assert!(user.agents(&host).await.contains(&id), "{user:?} does not list what {maker:?} made");
            assert_eq!(user.described(&host, &id).await, (name.clone(), format!("You are {name}.")));

            let ran = user.run(&host, &id, None, "Hello?").await;
            assert_eq!(ran.answer, "An answer.", "{user:?} runs what {maker:?} made");
            assert!(last_told(&model).contains(&format!("You are {name}.")), "{}", last_told(&model));

            user.change_prompt(&host, &id, "You are another.").await;
            assert_eq!(maker.described(&host, &id).await.1, "You are another.");
            maker.run(&host, &id, None, "And now?").await;
            assert!(last_told(&model).contains("You are another."), "{}", last_told(&model));
            let versions = expect(&host, &[200], Method::GET, &format!("/v1/agents/{id}/versions"), None).await;
            assert_eq!(versions["data"].as_array().unwrap().len(), 2);

            user.delete_agent(&host, &id).await;
            for dialect in ALL {
                expect(&host, &[404], Method::GET, &dialect.agent(&id), None).await;
                assert!(!dialect.agents(&host).await.contains(&id), "{dialect:?} lists what {user:?} has deleted");
            }
        }
    }
}

/// Where a session is begun.
#[derive(Debug, Clone, Copy)]
enum Beginning {
    /// By a run of an agent.
    By(Dialect),
    /// By making it, without a message.
    Made(Dialect),
    /// By a run of a mode in the Assisters dialect, which has no agents.
    Assisters,
}

impl Beginning {
    const ALL: [Self; 6] = [
        Self::By(Dialect::Native),
        Self::By(Dialect::Make),
        Self::By(Dialect::Hub),
        Self::Made(Dialect::Native),
        Self::Made(Dialect::Hub),
        Self::Assisters,
    ];

    /// Begins a session with this word in its first message.
    async fn begin(self, host: &Host, agent: &str, word: &str) -> String {
        let first = format!("The word is {word}.");
        match self {
            Self::By(dialect) => dialect.run(host, agent, None, &first).await.session,
            Self::Made(Dialect::Hub) => {
                let body = json!({"assistantId": agent, "title": "Made"});
                let session = text(&expect(host, &[201], Method::POST, "/api/sessions", Some(&body)).await["id"]);
                Dialect::Hub.run(host, agent, Some(&session), &first).await;
                session
            }
            Self::Made(_) => {
                let body = json!({"agentId": agent, "title": "Made"});
                let session = text(&expect(host, &[201], Method::POST, "/v1/sessions", Some(&body)).await["id"]);
                Dialect::Native.run(host, agent, Some(&session), &first).await;
                session
            }
            Self::Assisters => {
                let body = json!({"query": first, "mode": "chat"});
                text(&host.post_ok("/v1/agent/run", &body).await["sessionId"])
            }
        }
    }
}

async fn sessions(host: &Host) -> [Vec<String>; 2] {
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|session| text(&session["id"])).collect();
    let native = expect(host, &[200], Method::GET, "/v1/sessions?limit=200", None).await;
    let hub = expect(host, &[200], Method::GET, "/api/sessions?limit=100", None).await;
    [ids(&native["data"]), ids(&hub["data"])]
}

#[tokio::test]
async fn a_session_of_each_dialect_is_listed_continued_read_and_deleted_through_each_other_one() {
    let (model, host) = answering().await;
    let agent = Dialect::Native.make_agent(&host, "one").await;
    for (place, beginning) in Beginning::ALL.into_iter().enumerate() {
        let word = format!("word-{place}");
        let session = beginning.begin(&host, &agent, &word).await;
        for dialect in ALL {
            let ran = dialect.run(&host, &agent, Some(&session), &format!("Which word, {dialect:?}?")).await;
            assert_eq!(ran.session, session);
            assert!(last_told(&model).contains(&word), "{dialect:?} after {beginning:?}: {}", last_told(&model));
        }
        host.post_ok("/v1/agent/run", &json!({"query": "Which word?", "mode": "chat", "sessionId": session})).await;
        assert!(last_told(&model).contains(&word) && last_told(&model).contains("Hub?"), "{}", last_told(&model));

        for list in sessions(&host).await {
            assert!(list.contains(&session), "{beginning:?}: {list:?}");
        }
        let native = expect(&host, &[200], Method::GET, &format!("/v1/sessions/{session}/messages"), None).await;
        let native = native["data"].as_array().unwrap();
        let hub =
            expect(&host, &[200], Method::GET, &format!("/api/sessions/{session}/messages?limit=100"), None).await;
        let hub = hub.as_array().or_else(|| hub["data"].as_array()).unwrap_or_else(|| panic!("{hub} is no list"));
        let said: Vec<&Value> = hub.iter().map(|message| &message["content"][0]["text"]["value"]).collect();
        let expected: Vec<&Value> = native.iter().map(|message| &message["text"]).collect();
        assert_eq!(said, expected, "{beginning:?}");
        assert_eq!(expected.len(), 10);

        let path = if place % 2 == 0 { format!("/v1/sessions/{session}") } else { format!("/api/sessions/{session}") };
        expect(&host, &[200, 204], Method::DELETE, &path, None).await;
        expect(&host, &[404], Method::GET, &format!("/v1/sessions/{session}"), None).await;
        expect(&host, &[404], Method::GET, &format!("/api/sessions/{session}"), None).await;
        for list in sessions(&host).await {
            assert!(!list.contains(&session), "{beginning:?}: {list:?}");
        }
        // A thread of the same id begins anew.
        host.post_ok("/v1/agent/run", &json!({"query": "Which word?", "mode": "chat", "sessionId": session})).await;
        assert!(!last_told(&model).contains(&word), "{}", last_told(&model));
    }
}

#[tokio::test]
async fn what_each_dialect_has_acknowledged_is_there_after_the_host_was_killed() {
    let (model, host) = answering().await;
    let mut made = Vec::new();
    for dialect in ALL {
        let name = format!("{dialect:?}");
        let agent = dialect.make_agent(&host, &name).await;
        let session = dialect.run(&host, &agent, None, &format!("The word is {name}.")).await.session;
        dialect.change_prompt(&host, &agent, &format!("You were {name}.")).await;
        made.push((dialect, agent, session));
    }
    let doomed = Dialect::Hub.make_agent(&host, "doomed").await;
    Dialect::Make.delete_agent(&host, &doomed).await;
    let assisters = Beginning::Assisters.begin(&host, "", "assisters").await;

    let host = Host::builder().model(&model).data(host.kill().await).start().await;
    for (maker, agent, session) in &made {
        for dialect in ALL {
            assert!(dialect.agents(&host).await.contains(agent), "{dialect:?} lists what {maker:?} made");
            assert_eq!(dialect.described(&host, agent).await.1, format!("You were {maker:?}."));
            dialect.run(&host, agent, Some(session), "Which word?").await;
            assert!(last_told(&model).contains(&format!("The word is {maker:?}.")), "{}", last_told(&model));
        }
    }
    for dialect in ALL {
        assert!(!dialect.agents(&host).await.contains(&doomed));
    }
    host.post_ok("/v1/agent/run", &json!({"query": "Which word?", "mode": "chat", "sessionId": assisters})).await;
    assert!(last_told(&model).contains("The word is assisters."), "{}", last_told(&model));
}
