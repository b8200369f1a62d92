//! The tracking plan: rules that an operator sets for events, a subset of JSON Schema.
//!
//! Rules apply to facts, after all formats have been read: names are those of columns, or of keys
//! in `extra`. A violation is a flag in `extra` or rejects the event. Neither changes `fact_hash`.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::columns::{self, Kind};
use crate::decimal::Decimal;

/// The largest plan in bytes. Fluvio carries up to 65,535 bytes in a parameter.
const MAX_PLAN: usize = 32 * 1024;
/// The longest name in a plan, and the longest of an unplanned key in a rule, in bytes.
const MAX_NAME: usize = 128;

/// A tracking plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Plan {
    /// Schemas by event name.
    events: BTreeMap<String, Schema>,
    /// The effect of a name that is not in `events`; `None` allows it.
    #[serde(deserialize_with = "allow_or_action")]
    other_events: Option<Action>,
    /// The effect of a violation whose schema names none.
    on_violation: Action,
    /// The keys without a column that stay in `extra`; `None` keeps all.
    keep_extra: Option<BTreeSet<String>>,
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// The effect of a violation. Of several the greatest wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Flag,
    Reject,
}

/// A schema of an event, an item or a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Schema {
    r#type: Option<Type>,
    r#enum: Option<Vec<Scalar>>,
    minimum: Option<Number>,
    maximum: Option<Number>,
    required: Vec<String>,
    properties: BTreeMap<String, Schema>,
    additional_properties: Option<bool>,
    items: Option<Box<Schema>>,
    #[serde(rename = "on-violation")]
    on_violation: Option<Action>,
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
}

/// A value of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scalar {
    Text(String),
    Number(Decimal<'static>),
    Boolean(bool),
}

/// A bound.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number(Decimal<'static>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let read = match json.as_bytes().first() {
            Some(b'"') => serde_json::from_str(json).ok().map(Self::Text),
            Some(b't' | b'f') => Some(Self::Boolean(json == "true")),
            _ => Decimal::parse(json).map(|number| Self::Number(number.into_owned())),
        };
        read.ok_or_else(|| {
            D::Error::custom(format!(
                "`enum` has strings, numbers, true, false, not {json}"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let number = Some(json).filter(|json| !json.starts_with('"'));
        let number = number.and_then(Decimal::parse).map(Decimal::into_owned);
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("a bound is a number, not {json}")))
    }
}

fn allow_or_action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Action>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Others {
        Allow,
        Flag,
        Reject,
    }
    Ok(match Others::deserialize(deserializer)? {
        Others::Allow => None,
        Others::Flag => Some(Action::Flag),
        Others::Reject => Some(Action::Reject),
    })
}

/// Returns the column that a key is read into.
type ColumnOf = fn(&str) -> Option<&'static str>;

impl Plan {
    /// Reads a plan.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        if json.len() > MAX_PLAN {
            let size = json.len();
            return Err(format!("it has {size} bytes, and {MAX_PLAN} are allowed"));
        }
        if !json.starts_with('{') {
            return Err("it is not a JSON object".to_owned());
        }
        let plan: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        plan.events
            .keys()
            .chain(plan.keep_extra.iter().flatten())
            .try_for_each(|name| check_name(name))?;
        for (name, schema) in &plan.events {
            check_event(schema).map_err(|why| format!("event `{name}`: {why}"))?;
        }
        Ok(plan)
    }
}

/// Names are texts in the tables, so PostgreSQL must be able to store them.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(format!(
            "a name has 1 to {MAX_NAME} bytes and no control characters, and {name:?} is none"
        ));
    }
    Ok(())
}

/// Checks the schema of an event.
fn check_event(schema: &Schema) -> Result<(), String> {
    check_object(schema, columns::of_event_key)?;
    for (name, property) in &schema.properties {
        if name != "items" {
            check_property(name, property)?;
            continue;
        }
        let Schema {
            r#type: None | Some(Type::Array),
            r#enum: None,
            minimum: None,
            maximum: None,
            items: Some(item),
            ..
        } = property
        else {
            return Err("`items` has a schema `items` and no other rule than `type: array`".into());
        };
        check_object(item, columns::of_item_key)?;
        item.properties
            .iter()
            .try_for_each(|(name, property)| check_property(name, property))?;
    }
    Ok(())
}

/// Checks the names of an event's or an item's schema.
fn check_object(schema: &Schema, column_of: ColumnOf) -> Result<(), String> {
    let Schema {
        r#type: None | Some(Type::Object),
        r#enum: None,
        minimum: None,
        maximum: None,
        items: None,
        ..
    } = schema
    else {
        return Err(
            "an event and an item are objects: they have `required`, `properties`, \
                    `additionalProperties`, and no rule for other values"
                .into(),
        );
    };
    for name in schema.required.iter().chain(schema.properties.keys()) {
        check_name(name)?;
        if columns::kind(name).is_none()
            && name != "items"
            && let Some(column) = column_of(name)
        {
            return Err(match column {
                "event_time" | "event_name" => format!("each event has `{name}`; remove its rule"),
                _ => format!("`{name}` is read into the column `{column}`; use that name"),
            });
        }
    }
    Ok(())
}

/// Checks the schema of a column or of a key without one.
fn check_property(name: &str, schema: &Schema) -> Result<(), String> {
    let Some(kind) = columns::kind(name) else {
        return check_names(schema);
    };
    let is_whole = schema.required.is_empty()
        && schema.properties.is_empty()
        && schema.items.is_none()
        && schema.additional_properties.is_none();
    let allowed = schema.r#enum.iter().flatten();
    let (fits, what) = match kind {
        Kind::Text => (
            matches!(schema.r#type, None | Some(Type::String))
                && schema.minimum.is_none()
                && schema.maximum.is_none()
                && { allowed }.all(|value| matches!(value, Scalar::Text(_))),
            "a text: it can have `type: string` and an `enum` of strings",
        ),
        Kind::Number => (
            matches!(schema.r#type, None | Some(Type::Number | Type::Integer)) && { allowed }
                .all(|value| matches!(value, Scalar::Number(_))),
            "a number: it can have `type: number` or `integer`, `minimum`, `maximum` and an \
             `enum` of numbers",
        ),
    };
    if is_whole && fits {
        Ok(())
    } else {
        Err(format!("the column `{name}` is {what}"))
    }
}

/// Checks the names in the schema of a key without a column.
fn check_names(schema: &Schema) -> Result<(), String> {
    let names = schema.required.iter().chain(schema.properties.keys());
    { names }.try_for_each(|name| check_name(name))?;
    let within = schema.properties.values().chain(schema.items.as_deref());
    { within }.try_for_each(check_names)
}
