//! What JSON Schema has to say of the types that are written in another form than their fields': for the OpenAPI document,
//! which must be what serde reads and writes.

use std::ops::RangeInclusive;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

/// A text of this pattern and of so many characters.
pub(crate) fn text(description: &str, pattern: &str, chars: RangeInclusive<usize>, example: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(sentence(description)))
        .pattern(Some(pattern))
        .min_length(Some(*chars.start()))
        .max_length(Some(*chars.end()))
        .examples([example])
        .into()
}

/// A UUID as text.
pub(crate) fn uuid(description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .description(Some(sentence(description)))
        .examples(["0192f000-0000-7000-8000-000000000001"])
        .into()
}

/// An integer in this range.
pub(crate) fn number(description: &str, least: u32, most: u32) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(description))
        .minimum(Some(least))
        .maximum(Some(most))
        .examples([least])
        .into()
}

/// One of several objects, none of which takes an unknown field: what a tagged enum with `deny_unknown_fields` is.
pub(crate) fn closed(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    if let RefOr::T(Schema::OneOf(one_of)) = &mut schema {
        for item in &mut one_of.items {
            if let RefOr::T(Schema::Object(object)) = item {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
    schema
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
