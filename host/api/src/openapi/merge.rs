//! A type that is flattened into another is an `allOf` in the document. That is right for open objects alone: an object that
//! takes no unknown field refuses the fields of the one that it is flattened into. So what is two objects is written as one.
//!
//! Two more things are put right: a field that may be left out, but not be null, has no default (null would be none of its
//! values), and numbers without a sign are bounded by what they can hold, and not by the signed format that they are given.

use std::collections::BTreeMap;

use utoipa::Number;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::{AllOf, ArrayItems, KnownFormat, Object, Schema, SchemaFormat};
use utoipa::openapi::{OpenApi, RefOr};

const PREFIX: &str = "#/components/schemas/";

/// Puts all schemas right: those of the components, and those of parameters.
pub(super) fn flattened(document: &mut OpenApi) {
    let named = document.components.as_ref().map(|components| components.schemas.clone()).unwrap_or_default();
    for schema in document.components.iter_mut().flat_map(|components| components.schemas.values_mut()) {
        merge(schema, &named);
    }
    for operation in document.paths.paths.values_mut().flat_map(super::operations) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(Parameter { schema: Some(schema), .. }) = parameter {
                merge(schema, &named);
            }
        }
    }
}

/// An unsigned number's bound, in place of the format of the signed one.
fn bound(object: &mut Object) {
    let is_unsigned = match object.minimum {
        Some(Number::Int(least)) => least >= 0,
        Some(Number::UInt(_)) => true,
        Some(Number::Float(least)) => least >= 0.0,
        None => false,
    };
    let most = match &object.format {
        Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => u64::from(u32::MAX),
        Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => u64::MAX,
        _ => return,
    };
    if is_unsigned {
        object.format = None;
        object.maximum.get_or_insert(Number::from(most));
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
        Schema::Object(object) => {
            object.default.take_if(|default| default.is_null());
            bound(object);
            object.properties.values_mut().for_each(|property| merge(property, named));
        }
        Schema::OneOf(one_of) => one_of.items.iter_mut().for_each(|item| merge(item, named)),
        Schema::AnyOf(any_of) => any_of.items.iter_mut().for_each(|item| merge(item, named)),
        Schema::Array(array) => {
            array.default.take_if(|default| default.is_null());
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
