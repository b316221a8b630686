//! Tests: how they run, and how they end.

use crate::support::{Folder, code};

#[test]
fn a_test_may_throw_anything_and_its_text_is_told() {
    let told = code(
        r#"
        test("rejected with nothing", () => Promise.reject());
        test("null", () => { throw null; });
        test("a text", () => { throw "boom"; });
        test("told back", (done) => { setTimeout(() => done("late"), 1); });
        test("within", async () => { throw { code: 5 }; });
        test("an error", () => { throw new TypeError("no such luck"); });
        "#,
    );
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("\nTests: 6 failed"), "{told:?}");
    for text in ["undefined", "null", r#""boom""#, r#""late""#, "{ code: 5 }"] {
        assert!(told.out.contains(&format!("\n  thrown: {text}\n")), "{text}: {told:?}");
    }
    assert!(told.out.contains("TypeError: no such luck"), "{told:?}");
}

#[test]
fn a_subtest_may_throw_anything_too() {
    let told = code(
        r#"
        import test from "node:test";
        test("outer", async (t) => { await t.test("inner", () => { throw "boom"; }); });
        "#,
    );
    assert!(told.code == Some(1) && told.out.contains(r#"thrown: "boom""#), "{told:?}");
}

#[test]
fn tests_end_with_an_error_where_they_can_not_be_told() {
    let told = code(r#"test("takes away what the report needs", () => { Object.entries = null; });"#);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("the tests broke off"), "{told:?}");
}

#[test]
fn hooks_and_tests_of_node_test_are_given_their_context_and_a_callback_after_it() {
    let told = code(
        r#"
        import { test, before, after, beforeEach, afterEach } from "node:test";
        import assert from "node:assert/strict";
        const seen = [];
        before((t) => { seen.push("before"); });
        beforeEach((t, done) => { seen.push(t.name); setTimeout(done, 1); });
        afterEach(async (t) => { seen.push("afterEach"); });
        after((t) => { console.log("after", seen.length); });
        test("one", (t) => { t.after((t) => { seen.push("t.after"); }); });
        test("two", (t, done) => {
          assert.deepEqual(seen, ["before", "one", "t.after", "afterEach", "two"]);
          setTimeout(done, 1);
        });
        test("three", async (t) => { await t.test("inner", (t, done) => { assert.equal(t.name, "inner"); done(); }); });
        test("four", (t, done) => { done(new Error("told back")); });
        "#,
    );
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("Tests: 3 passed, 1 failed") && told.out.contains("Error: told back"), "{told:?}");
    assert!(told.out.contains("after 10"), "{told:?}");
}

#[test]
fn tests_and_hooks_of_vitest_are_given_their_context() {
    let told = code(
        r#"
        import { test, expect, beforeEach } from "vitest";
        let open = 0;
        beforeEach(({ task }) => { open += 1; expect(task.name).toBe("x"); return () => { open -= 1; }; });
        test("x", ({ expect, task }) => { expect(task.name).toBe("x"); expect(open).toBe(1); });
        test("x", async ({ expect, onTestFinished }) => { onTestFinished(() => {}); expect(open).toBe(1); });
        "#,
    );
    assert!(told.code == Some(0) && told.out.contains("Tests: 2 passed"), "{told:?}");
}

#[test]
fn hooks_and_tests_of_jest_and_mocha_are_given_a_callback() {
    let told = code(
        r#"
        let ready = false;
        before((done) => { setTimeout(() => { ready = true; done(); }, 1); });
        test("ready", (done) => { expect(ready).toBe(true); done(); });
        "#,
    );
    assert!(told.code == Some(0) && told.out.contains("Tests: 1 passed"), "{told:?}");
}

#[test]
fn mocks_of_node_test_have_the_shape_that_node_gives_them() {
    let told = code(
        r#"
        import { test, mock } from "node:test";
        import assert from "node:assert/strict";
        const object = { times(n) { return n * 2; } }, { times } = object;
        test("functions", () => {
          const add = mock.fn((a, b) => a + b);
          assert.equal(add(1, 2), 3);
          assert.equal(add.mock.callCount(), 1);
          assert.deepEqual(add.mock.calls[0].arguments, [1, 2]);
          assert.equal(add.mock.calls[0].result, 3);
          add.mock.mockImplementationOnce(() => { throw new Error("once"); });
          assert.throws(() => add(1, 1), /once/);
          assert.equal(add.mock.calls[1].error.message, "once");
          assert.equal(add(1, 1), 2);
          add.mock.resetCalls();
          assert.equal(add.mock.callCount(), 0);
        });
        test("methods", (t) => {
          const mocked = t.mock.method(object, "times", (n) => n * 10);
          assert.equal(object.times(2), 20);
          assert.equal(mocked.mock.calls[0].this, object);
        });
        test("are taken back", () => { assert.equal(object.times, times); });
        "#,
    );
    assert!(told.code == Some(0) && told.out.contains("Tests: 3 passed"), "{told:?}");
}

#[test]
fn restored_methods_are_what_they_were_before_the_first_spy() {
    let told = code(
        r#"
        test("restored", () => {
          const object = { f: () => 1 }, { f } = object;
          jest.spyOn(object, "f").mockReturnValue(2);
          jest.spyOn(object, "f").mockReturnValue(3);
          jest.restoreAllMocks();
          expect(object.f).toBe(f);
        });
        test("reset", () => {
          const mock = jest.fn().mockReturnValueOnce(5);
          mock.mockReset();
          expect(mock()).toBeUndefined();
        });
        "#,
    );
    assert!(told.code == Some(0) && told.out.contains("Tests: 2 passed"), "{told:?}");
}

#[test]
fn only_leaves_out_other_tests_of_its_own_file_and_of_no_other() {
    let folder = Folder::with(&[
        ("a.test.js", r#"test.only("a", () => {}); test("left out", () => { throw new Error("it runs"); });"#),
        (
            "b.test.js",
            r#"test("b", () => {}); describe("c", () => { test.only("d", () => {}); test("e", () => {}); });"#,
        ),
        ("c.test.js", r#"test("f", () => { expect(1).toBe(2); });"#),
    ]);
    let told = folder.test();
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out.contains("✓ a\n") && told.out.contains("✓ d\n") && told.out.contains("✕ f\n"), "{told:?}");
    assert!(told.out.contains("Tests: 2 passed, 1 failed, 3 skipped"), "{told:?}");
}
