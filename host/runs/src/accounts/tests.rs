//! Accounts under many calls at once, under clocks that jump, and after a restart.

use vivarium_domain::{AgentId, UsageEntry};
use vivarium_store::{SledStore, Write};

use super::*;

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, ..Amount::default() }
}

fn used(input_tokens: u64) -> Used {
    Used { input_tokens, ..Used::default() }
}

fn per_day(tokens: u64) -> Budget {
    Budget { tokens_per_day: Some(tokens), ..Budget::default() }
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn accounts() -> (tempfile::TempDir, Arc<Accounts>, TenantId) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(folder.path()).unwrap().0);
    (folder, Accounts::new(store, BTreeMap::new()), "acme".parse().unwrap())
}

#[tokio::test]
async fn what_is_used_and_what_is_reserved_never_go_beyond_a_budget_however_many_ask_at_once() {
    let (_folder, accounts, acme) = accounts();
    let bounded = [(Subject::Tenant, per_day(1000)), (Subject::Agent(AgentId::new()), Budget::default())];
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (accounts, acme) = (Arc::clone(&accounts), acme.clone());
        asked.spawn(async move { accounts.reserve(&acme, &bounded, tokens(150)).await.unwrap() });
    }
    let answers = asked.join_all().await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((given.len(), refused.len()), (6, 58));
    let refused = refused.into_iter().next().unwrap().err().unwrap();
    assert_eq!((refused.left.as_str(), refused.wanted.as_deref()), ("100", Some("150")));
    // One is settled with less than it had, one is given back, and so there is room for two, and not for three.
    let mut given = given.into_iter().map(|given| given.ok().unwrap());
    given.next().unwrap().settle(used(40));
    drop(given.next());
    let mut more = Vec::new();
    for fits in [true, true, false] {
        let reserved = accounts.reserve(&acme, &bounded, tokens(150)).await.unwrap();
        assert_eq!(reserved.is_ok(), fits);
        more.extend(reserved.ok());
    }
}

#[tokio::test]
async fn a_day_that_turns_is_a_new_one_and_a_clock_that_goes_back_finds_the_old_one() {
    let (_folder, accounts, acme) = accounts();
    let by_month = Budget { tokens_per_month: Some(150), ..per_day(100) };
    let bounded = [(Subject::Tenant, by_month)];
    let take = async |on: &str, wanted| {
        let reserved = accounts.reserve_on(day(on), &acme, &bounded, tokens(wanted)).await.unwrap();
        let given = reserved.is_ok();
        drop(reserved);
        if given {
            accounts.change(&acme, &[Subject::Tenant], |account| {
                let known = account.days.entry(day(on)).or_default();
                *known = known.plus(tokens(wanted));
            });
        }
        given
    };
    assert!(take("2026-11-29", 100).await && !take("2026-11-29", 1).await);
    assert!(take("2026-11-30", 50).await && !take("2026-11-30", 1).await, "the month is spent");
    assert!(take("2026-12-01", 100).await && !take("2026-12-01", 1).await);
    assert!(!take("2026-11-30", 1).await && !take("2026-11-29", 1).await, "the clock went back");
    assert!(take("2026-12-02", 50).await, "and on again");
}

#[tokio::test]
async fn an_account_begins_with_what_the_store_has_counted() {
    let (_folder, accounts, acme) = accounts();
    let today = utc_day(Timestamp::now());
    let key = KeyId::new();
    let entry = UsageEntry { by: UsedBy { key: Some(key), ..UsedBy::default() }, used: used(90) };
    let write = Write::CountUsage { day: today, more: Box::new(entry) };
    accounts.store.commit(&acme, write.into()).await.unwrap();
    let bounded = [(Subject::Key(key), per_day(100))];
    assert!(accounts.reserve(&acme, &bounded, tokens(10)).await.unwrap().is_ok());
    let refused = accounts.reserve(&acme, &bounded, tokens(11)).await.unwrap().err().unwrap();
    let told = refused.to_string();
    assert!(told.starts_with("this key's budget of 100 tokens a day is spent: 90 are used, 10 are left, and this call may take up to 11; "), "{told}");
    assert_eq!(refused.turns_at, beginning_of(today.tomorrow().unwrap()));
    assert!(accounts.exhausted(&acme, &bounded).await.unwrap().is_none());
    assert!(accounts.exhausted(&acme, &[(Subject::Key(key), per_day(90))]).await.unwrap().is_some());
}

#[test]
fn amounts_are_told_in_their_units() {
    assert_eq!(written(BudgetUnit::ToolSeconds, 1_500), "1.5");
    assert_eq!(written(BudgetUnit::Money, 2_500_000), "0.0025");
    assert_eq!(written(BudgetUnit::Tokens, 7), "7");
}
