//! A type that is flattened into another is an `allOf` in the document. That is right for open objects alone: an object that
//! takes no unknown field refuses the fields of the one that it is flattened into. So what is two objects is written as one.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{AllOf, ArrayItems, Object, Schema};
use utoipa::openapi::{OpenApi, RefOr};

const PREFIX: &str = "#/components/schemas/";

/// Flattened types are one object each, wherever in the components they stand.
pub(super) fn flattened(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let named = components.schemas.clone();
    for schema in components.schemas.values_mut() {
        merge(schema, &named);
    }
}

type Named = BTreeMap<String, RefOr<Schema>>;

fn merge(schema: &mut RefOr<Schema>, named: &Named) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::AllOf(all_of) => {
            for item in &mut all_of.items {
                merge(item, named);
            }
            if let Some(object) = as_one(all_of, named) {
                *schema = Schema::Object(object);
            }
        }
        Schema::Object(object) => object.properties.values_mut().for_each(|property| merge(property, named)),
        Schema::OneOf(one_of) => one_of.items.iter_mut().for_each(|item| merge(item, named)),
        Schema::AnyOf(any_of) => any_of.items.iter_mut().for_each(|item| merge(item, named)),
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                merge(items, named);
            }
        }
        _ => {}
    }
}

/// All parts as one object; none if one of them is none.
fn as_one(all_of: &AllOf, named: &Named) -> Option<Object> {
    let mut whole = Object::new();
    whole.description.clone_from(&all_of.description);
    for item in &all_of.items {
        let part = object(item, named)?;
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
        whole.additional_properties = whole.additional_properties.or(part.additional_properties);
    }
    Some(whole)
}

fn object(schema: &RefOr<Schema>, named: &Named) -> Option<Object> {
    match schema {
        RefOr::T(Schema::Object(object)) => Some(object.clone()),
        RefOr::T(Schema::AllOf(all_of)) => as_one(all_of, named),
        RefOr::Ref(reference) => object(named.get(reference.ref_location.strip_prefix(PREFIX)?)?, named),
        RefOr::T(_) => None,
    }
}
