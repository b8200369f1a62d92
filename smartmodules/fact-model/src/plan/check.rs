//! Applies a tracking plan: checks facts against its schemas, and drops keys that it does not keep.

use std::fmt;

use crate::columns::{self, Value};
use crate::decimal::Decimal;
use crate::extra::{Extra, Keys};
use crate::fact::Fact;
use crate::json::{entries, get, unescape};
use crate::limits::Budget;
use crate::options::IGNORED;
use crate::plan::{Action, ColumnOf, MAX_NAME, Number, Plan, Scalar, Schema, Type};
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::write::JsonText;

/// The most rules that one fact or one rejection names.
const MAX_RULES: usize = 32;

impl Plan {
    /// Applies the plan to the facts of one event, whose identities are set.
    pub(crate) fn apply<'a>(
        &self,
        facts: &mut [Fact<'a>],
        arena: &'a Arena,
        budget: &mut Budget<'_>,
    ) -> Result<(), Refusal> {
        let mut kept: (Keys<'a>, Keys<'a>) = (&[], &[]);
        for fact in facts {
            let (event, item) = fact.extra.as_ref().map_or((&[][..], &[][..]), Extra::parts);
            let mut violations = Violations::default();
            match self.events.get(&*fact.event_name) {
                Some(schema) => {
                    let action = schema.on_violation.unwrap_or(self.on_violation);
                    violations.check(schema, fact, (event, item), action);
                }
                None => {
                    if let Some(action) = self.other_events {
                        violations.add_unplanned(action);
                    }
                }
            }
            if violations.reject() {
                let rules = violations.rules().join("; ");
                let detail = format!("the event violates the tracking plan: {rules}");
                return Err(Refusal::new(Reason::TrackingPlan, detail));
            }
            let flags = violations.json(arena);
            if self.keep_extra.is_none() && flags.is_empty() {
                continue;
            }
            if !flags.is_empty() {
                budget.spend(flags.len())?;
            }
            // Facts of one event share its keys.
            if !std::ptr::eq(kept.0, event) {
                kept = (event, self.keep(event, columns::of_event_key, arena));
            }
            let item = self.keep(item, columns::of_item_key, arena);
            fact.extra = Extra::flagged(kept.1, item, flags);
        }
        Ok(())
    }

    /// Returns the keys to keep: those that the plan names, and values that a column couldn't hold.
    fn keep<'a>(&self, keys: Keys<'a>, column_of: ColumnOf, arena: &'a Arena) -> Keys<'a> {
        let Some(keep) = &self.keep_extra else {
            return keys;
        };
        let is_kept = |key: &str| keep.contains(key) || column_of(key).is_some();
        if keys.iter().all(|(key, _)| is_kept(key)) {
            return keys;
        }
        let kept = keys.iter().filter(|(key, _)| is_kept(key)).copied();
        arena.slice(&Vec::from_iter(kept))
    }
}

/// The rules that a fact violates.
#[derive(Default)]
struct Violations {
    rules: Vec<String>,
    worst: Action,
}

/// The place of a rule: the names that lead to it, and the action of the schema around it. The path
/// is written only for a violation.
#[derive(Clone, Copy)]
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    name: &'p str,
    action: Action,
}

impl<'p> Place<'p> {
    /// Returns the place of an event.
    const fn event(action: Action) -> Self {
        Self {
            above: None,
            name: "",
            action,
        }
    }

    /// Returns the place of a key of `schema`.
    fn key(&'p self, name: &'p str, schema: &Schema) -> Self {
        let property = schema.properties.get(name);
        self.below(name, property.and_then(|property| property.on_violation))
    }

    /// Returns the place of the elements of a list with the schema `items`.
    fn elements(&'p self, items: &Schema) -> Self {
        self.below(ELEMENTS, items.on_violation)
    }

    fn below(&'p self, name: &'p str, action: Option<Action>) -> Self {
        Self {
            above: Some(self),
            name,
            action: action.unwrap_or(self.action),
        }
    }
}

/// The name of a list's elements in a path, which follows the list's without a point.
const ELEMENTS: &str = "[]";

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
            if above.above.is_some() && self.name != ELEMENTS {
                f.write_str(".")?;
            }
        }
        f.write_str(self.name)
    }
}

impl Violations {
    /// Returns true if the fact's event is rejected.
    fn reject(&self) -> bool {
        self.worst == Action::Reject
    }

    /// Returns the rules, each with its path.
    fn rules(&self) -> &[String] {
        &self.rules
    }

    /// Returns the rules as a JSON array; an empty text if there are none.
    fn json<'a>(&self, arena: &'a Arena) -> &'a str {
        if self.rules.is_empty() {
            return "";
        }
        let mut out = JsonText::new(arena);
        out.begin_list();
        self.rules.iter().for_each(|rule| out.string(rule));
        out.end_list();
        out.finish()
    }

    /// Adds the violation of an event whose name is not in the plan.
    fn add_unplanned(&mut self, action: Action) {
        let event = Place::event(action);
        self.add(event.below("event_name", None), "not in the plan");
    }

    fn add(&mut self, place: Place<'_>, keyword: &str) {
        self.worst = self.worst.max(place.action);
        let rule = match self.rules.len() {
            ..MAX_RULES => format!("{place}: {keyword}"),
            MAX_RULES => "more rules than are listed".to_owned(),
            _ => return,
        };
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    /// Adds a violation if a key isn't among the properties.
    fn add_additional(&mut self, schema: &Schema, key: &str, place: &Place<'_>) {
        if !schema.properties.contains_key(key) {
            let end = key.floor_char_boundary(MAX_NAME);
            let name = key.get(..end).unwrap_or_default();
            self.add(place.below(name, None), "additionalProperties");
        }
    }

    /// Checks a fact against the schema of its event. `extra` is its keys without a column.
    fn check(
        &mut self,
        schema: &Schema,
        fact: &Fact<'_>,
        extra: (Keys<'_>, Keys<'_>),
        action: Action,
    ) {
        let event = Place::event(action);
        self.columns(schema, fact, extra.0, columns::of_event_key, &event);
        if fact.item_ordinal > 0
            && let Some(items) = schema.properties.get("items")
            && let Some(item) = &items.items
        {
            let place = event.below("items", item.on_violation.or(items.on_violation));
            self.columns(item, fact, extra.1, columns::of_item_key, &place);
        }
    }

    /// Checks columns of a fact, and keys without a column.
    fn columns(
        &mut self,
        schema: &Schema,
        fact: &Fact<'_>,
        keys: Keys<'_>,
        column_of: ColumnOf,
        place: &Place<'_>,
    ) {
        let key = |name: &str| {
            keys.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, raw)| *raw)
        };
        for name in &schema.required {
            let is_there = if name == "items" {
                fact.item_ordinal > 0
            } else if columns::kind(name).is_some() {
                columns::value(fact, name).is_some()
            } else {
                key(name).is_some_and(|raw| raw.get() != "null")
            };
            if !is_there {
                self.add(place.key(name, schema), "required");
            }
        }
        for (name, property) in &schema.properties {
            let place = place.key(name, schema);
            if columns::kind(name).is_none() {
                if let Some(raw) = key(name) {
                    self.json_value(property, raw, &place);
                }
            } else if let Some(value) = columns::value(fact, name) {
                self.value(property, &value, place);
            } else if property.r#type.is_some()
                && keys.iter().any(|(key, _)| column_of(key) == Some(name))
            {
                // A value was sent that the column can't hold.
                self.add(place, "type");
            }
        }
        if schema.additional_properties == Some(false) {
            for (key, _) in keys {
                if column_of(key).is_none() && !IGNORED.contains(key) {
                    self.add_additional(schema, key, place);
                }
            }
        }
    }

    /// Checks the value of a column or a single value.
    fn value(&mut self, schema: &Schema, value: &Value<'_>, place: Place<'_>) {
        if let (Some(Type::Integer), Value::Number(number)) = (schema.r#type, value)
            && number.as_str().contains('.')
        {
            self.add(place, "type");
        }
        if let Some(allowed) = &schema.r#enum {
            let is_allowed = allowed.iter().any(|allowed| match (allowed, value) {
                (Scalar::Text(allowed), Value::Text(text)) => allowed == text,
                (Scalar::Number(allowed), Value::Number(number)) => allowed == number,
                _ => false,
            });
            if !is_allowed {
                self.add(place, "enum");
            }
        }
        if let Value::Number(number) = value {
            if let Some(Number(least)) = &schema.minimum
                && number.compare(least).is_lt()
            {
                self.add(place, "minimum");
            }
            if let Some(Number(most)) = &schema.maximum
                && number.compare(most).is_gt()
            {
                self.add(place, "maximum");
            }
        }
    }

    /// Checks a value without a column. The recursion ends with the schema's depth, which
    /// `serde_json` limits to 128.
    fn json_value(&mut self, schema: &Schema, raw: Raw<'_>, place: &Place<'_>) {
        let arena = Arena::new();
        let json = raw.get();
        let (kind, value) = match json.as_bytes().first() {
            Some(b'n') | None => return,
            Some(b'"') => (Type::String, unescape(json, &arena).map(Value::Text)),
            Some(b't' | b'f') => (Type::Boolean, None),
            Some(b'{') => (Type::Object, None),
            Some(b'[') => (Type::Array, None),
            Some(_) => (Type::Number, Decimal::parse(json).map(Value::Number)),
        };
        let fits = match schema.r#type {
            None => true,
            Some(Type::Integer) => kind == Type::Number,
            Some(wanted) => kind == wanted,
        };
        if !fits {
            return self.add(*place, "type");
        }
        match (&value, &schema.r#enum) {
            (Some(value), _) => self.value(schema, value, *place),
            (None, Some(allowed)) => {
                let is_allowed =
                    kind == Type::Boolean && allowed.contains(&Scalar::Boolean(json == "true"));
                if !is_allowed {
                    self.add(*place, "enum");
                }
            }
            (None, None) => {}
        }
        match (kind, &schema.items) {
            (Type::Object, _) => self.object(schema, json, place, &arena),
            (Type::Array, Some(items)) => {
                let place = place.elements(items);
                for element in raw.elements().unwrap_or_default() {
                    self.json_value(items, element, &place);
                }
            }
            _ => {}
        }
    }

    /// Checks the keys of an object without a column.
    fn object(&mut self, schema: &Schema, json: &str, place: &Place<'_>, arena: &Arena) {
        let entries = entries(json, arena);
        let of = |name: &str| get(&entries, name).filter(|raw| raw.get() != "null");
        for name in &schema.required {
            if of(name).is_none() {
                self.add(place.key(name, schema), "required");
            }
        }
        for (name, property) in &schema.properties {
            if let Some(raw) = of(name) {
                self.json_value(property, raw, &place.key(name, schema));
            }
        }
        if schema.additional_properties == Some(false) {
            for (key, _) in &entries {
                self.add_additional(schema, key, place);
            }
        }
    }
}
