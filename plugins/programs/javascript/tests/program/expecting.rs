//! `expect`: what fits, and above all what does not.

use crate::support::code;

/// All of these tests pass.
fn passes(count: usize, tests: &str) {
    let told = code(tests);
    assert!(told.code == Some(0) && told.out.contains(&format!("Tests: {count} passed\n")), "{told:?}");
}

#[test]
fn only_functions_and_rejected_promises_can_throw() {
    passes(
        2,
        r#"
        test("values", () => {
          for (const value of [3, undefined, null, new Error("no"), Promise.resolve(1)]) {
            expect(() => expect(value).toThrow()).toThrow("received must be a function");
            expect(() => expect(value).not.toThrow()).toThrow(TypeError);
          }
        });
        test("promises", async () => {
          await expect(Promise.reject(new RangeError("no"))).rejects.toThrow("no");
          await expect(Promise.reject(new RangeError("no"))).rejects.toThrow(RangeError);
          await expect(Promise.resolve(1)).resolves.not.toThrow();
          await expect(expect(Promise.resolve(1)).resolves.toThrow()).rejects.toThrow("does not throw");
        });
        "#,
    );
}

#[test]
fn objects_without_properties_of_their_own_match_by_what_they_hold() {
    passes(
        2,
        r#"
        test("another", () => {
          for (const [a, b] of [
            [new Date(0), new Date(1)], [new Map([[1, 2]]), new Map()], [new Set([1]), new Set([2])], [/a/, /b/],
            [new Error("a"), new Error("b")], [{}, new Date(0)],
            [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer], [new Uint8Array([1]), new Uint8Array([2])],
          ]) {
            expect({ a }).not.toMatchObject({ a: b });
            expect({ a }).not.toEqual({ a: b });
          }
        });
        test("the same, or part of it", () => {
          expect({ a: new Date(0), b: 1 }).toMatchObject({ a: new Date(0) });
          expect({ a: [{ b: 1, c: 2 }] }).toMatchObject({ a: [{ b: expect.any(Number) }] });
          expect({ a: [{ b: 1 }, { c: 2 }] }).not.toMatchObject({ a: [{ b: 1 }] });
          expect({ a: { b: 1, c: { d: 2, e: 3 } } }).toMatchObject({ a: { c: { d: 2 } } });
          expect({ a: null }).not.toMatchObject({ a: { b: 1 } });
        });
        "#,
    );
}

#[test]
fn object_containing_compares_each_property_in_full() {
    passes(
        1,
        r#"
        test("in full", () => {
          expect({ a: { b: 1 }, c: 2 }).toEqual(expect.objectContaining({ a: { b: 1 } }));
          expect({ a: { b: 1, c: 2 } }).not.toEqual(expect.objectContaining({ a: { b: 1 } }));
          expect({ a: { b: 1, c: 2 } }).toEqual(expect.objectContaining({ a: expect.objectContaining({ b: 1 }) }));
        });
        "#,
    );
}

#[test]
fn buffers_are_equal_where_their_bytes_are() {
    passes(
        1,
        r#"
        import assert from "node:assert/strict";
        test("bytes", () => {
          const of = (...bytes) => new Uint8Array(bytes).buffer, view = (...bytes) => new DataView(of(...bytes));
          expect(of(1, 2)).toEqual(of(1, 2));
          expect(of(1, 2)).not.toEqual(of(1, 3));
          expect(of(1)).not.toEqual(of(1, 0));
          expect(view(1)).toEqual(view(1));
          expect(view(1)).not.toEqual(view(2));
          assert.notDeepStrictEqual(of(1), of(2));
        });
        "#,
    );
}
