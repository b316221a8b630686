//! More cycles find more: on a collection whose questions are chains, with a reader by rule and with the embedded answerer.

use serde_json::json;
use vivarium_tests::{Collection, Host, Recall, ScriptedModel, reader};

async fn measured(host: &Host, collection: &Collection, every: usize, max_cycles: u32) -> Recall {
    let mut recall = Recall::default();
    for question in collection.questions.iter().step_by(every) {
        let ask = json!({"query": question.text, "mode": "research", "maxCycles": max_cycles});
        recall.count(question, &host.post_ok("/v1/agent/run", &ask).await);
    }
    recall
}

#[tokio::test]
async fn more_cycles_find_more_of_what_the_answer_needs() {
    let (folder, collection) = (tempfile::tempdir().unwrap(), Collection::generated());
    collection.write(folder.path());
    let model = ScriptedModel::start().await;
    model.by_rule(reader);
    for with_model in [true, false] {
        let builder = Host::builder().corpus(folder.path());
        let host = if with_model { builder.model(&model).start().await } else { builder.start().await };
        let mut found = Vec::new();
        for max_cycles in [1, 3, 8] {
            found.push(measured(&host, &collection, 3, max_cycles).await.shares());
        }
        let [one, three, eight] = [0, 1, 2].map(|at| found[at][1]);
        assert!(one + 0.1 < three && three + 0.05 < eight, "facts, with a model {with_model}: {found:?}");
        assert!(found[0][0] + 0.1 < found[2][0], "documents, with a model {with_model}: {found:?}");
        if with_model {
            assert!(eight > 0.95 && found[2][2] > 0.5, "{found:?}");
        }
    }
}

#[test]
fn the_collection_is_the_same_each_time_and_can_not_be_searched_for_at_once() {
    let collection = Collection::generated();
    assert_eq!(collection, Collection::generated());
    assert!(collection.documents.len() > 400 && collection.questions.len() == 40, "{}", collection.documents.len());
    for question in &collection.questions {
        for fact in question.facts.iter().skip(1) {
            let (_, text) = collection.documents.iter().find(|(name, _)| *name == fact.location).unwrap();
            let begin = question.text.rsplit(" of ").next().unwrap().trim_end_matches('?');
            assert!(
                begin.split(' ').all(|word| !text.contains(word)),
                "{text:?} shares a name with {:?}",
                question.text
            );
        }
    }
}
