//! A message body: which events it holds.
//!
//! # In which order formats are told apart
//!
//! 1. gzip, by its magic number: inflated and read from the top. All else must be UTF-8.
//! 2. `{`: a JSON object. This is the fast path: a plain event is flattened as its keys are read, and only a
//!    key that no column takes can tell that it is something else ([`shape`]): an SNS notification, an
//!    EventBridge event or an envelope of the SQS source around another body, a GA4 Measurement Protocol body, a BigQuery row, a push to a data
//!    layer.
//! 3. `[`: a JSON array of such objects, or of strings that hold them; or the pointer to S3 of the SQS extended
//!    client.
//! 4. `"`: a JSON string, whose text is read from the top, up to three strings deep.
//! 5. What begins as JSON and is none: several documents one after another; then what iOS logs in brackets;
//!    then rows as Java prints them; then a literal of Python or JavaScript; then what iOS prints of a dictionary.
//! 6. What does not begin as JSON: a line that a Firebase SDK logs ([`log_line`]), `dataLayer.push(…)` or a
//!    string of Python ([`literal`]), a web hit ([`hit`]), base64 of gzip or of any of the above.
//!
//! What is none of these is refused, with the error of the reader that got furthest.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::budget::Budget;
use crate::envelope::Envelope;
use crate::event;
use crate::formats::printed_rows::{self, Names};
use crate::formats::shape::{self, Shape};
use crate::formats::{Fault, Rewritten, compressed, hit, is_further, literal, log_line};
use crate::items::{literal_or_plist, literal_plist_or_rows};
use crate::json::{repair, trim, unescape};
use crate::keys::EventKeys;
use crate::layers::Layers;
use crate::options::Options;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};

/// Turns a message body, whatever it holds, into facts and rejections; at least one of either.
///
/// The envelope has its own copy of every text. Where that matters, [`flatten_in`] copies nothing.
pub fn flatten(body: &[u8]) -> Envelope<'static> {
    flatten_in(&Arena::new(), &Options::default(), body, None).into_owned()
}

/// Does what [`flatten`] does, on an operator's terms and with texts borrowed from the body and from
/// `arena`. `record_time` is when the record was written to the topic, in ms of Unix time.
pub fn flatten_in<'a>(
    arena: &'a Arena,
    options: &Options,
    body: &'a [u8],
    record_time: Option<i64>,
) -> Envelope<'a> {
    let budget = Budget::of_body(body.len(), options, record_time);
    let mut reader = Reader {
        arena,
        budget,
        envelope: Envelope::default(),
        place: String::from("$"),
    };
    let read = reader.part(body, |reader| {
        reader.budget.check_size(body.len())?;
        reader.bytes(body, body, Layers::default())
    });
    let mut envelope = match read {
        Ok(()) => reader.envelope,
        // Once there is no room the rest would only be lost: the body is refused as a whole.
        Err(too_large) => refuse(too_large, body),
    };
    envelope.nuls_removed = arena.take_nuls();
    envelope
}

/// The envelope of a body that is refused unread, for a reason that lies outside of it.
pub fn reject<'a>(body: &'a [u8], reason: Reason, detail: &str) -> Envelope<'a> {
    refuse(Refusal::new(reason, detail), body)
}

fn refuse(refusal: Refusal, body: &[u8]) -> Envelope<'_> {
    Envelope {
        rejected: vec![refusal.of("$", body)],
        ..Envelope::default()
    }
}

/// What is becoming of a body.
///
/// A body may have parts that are accepted or rejected by themselves: elements of an array, documents one after
/// another. `raw` is always the part that is being read, as it came, and an error refuses that part.
struct Reader<'a, 'o> {
    arena: &'a Arena,
    budget: Budget<'o>,
    envelope: Envelope<'a>,
    /// The place of the part.
    place: String,
}

impl<'a> Reader<'a, '_> {
    /// Reads a part. Only an error for want of room goes further than the part.
    fn part(
        &mut self,
        raw: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match read(self) {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.reason == Reason::TooLarge => Err(refusal),
            Err(refusal) => self.refuse(refusal, raw),
        }
    }

    fn refuse(&mut self, refusal: Refusal, raw: &'a [u8]) -> Result<(), Refusal> {
        self.budget.spend(raw.len())?;
        let rejection = refusal.of(&self.place, raw);
        self.envelope.rejected.push(rejection);
        Ok(())
    }

    /// Reads the part with this index.
    fn element(
        &mut self,
        index: usize,
        raw: &'a str,
        read: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let length = self.place.len();
        // Writing to a `String` can't fail.
        let _ = write!(self.place, "[{index}]");
        let read = self.part(raw.as_bytes(), read);
        self.place.truncate(length);
        read
    }

    fn bytes(&mut self, bytes: &'a [u8], raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        if compressed::is_gzip(bytes) {
            let layers = layers.envelope()?;
            let inflated = compressed::inflate(bytes, self.budget.rest())?;
            // A body may hold many of them.
            self.budget.spend(inflated.len())?;
            return self.bytes(self.arena.slice(&inflated), raw, layers);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let detail = format!("the body is not UTF-8: {error}");
            Refusal::new(Reason::NotUtf8, detail)
        })?;
        // A producer in C may send the end of its string.
        let without = text.trim_matches('\0');
        self.arena.count_nuls(text.len() - without.len());
        self.text(trim(without), raw, layers)
    }

    /// Reads a text without white space at its ends.
    fn text(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match text.as_bytes().first() {
            None => Err(Refusal::new(Reason::EmptyBody, "the body is empty")),
            Some(b'{') => self.object(text, raw, layers),
            Some(b'[') => self.array(text, raw, layers),
            Some(b'"') if is_json(text) => {
                let inner = unescape(repair(text, self.arena), self.arena).unwrap_or_default();
                self.text(trim(inner), raw, layers.string()?)
            }
            Some(b'"') => self.no_json(text, raw, layers),
            Some(_) => self.other(text, raw, layers),
        }
    }

    fn object(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        let json = repair(text, self.arena);
        let Ok(keys) = EventKeys::read(json, self.arena) else {
            return self.no_json(text, raw, layers);
        };
        if keys.is_shaped()
            && let Some(shape) = shape::read(json, keys.is_named(), self.arena, &mut self.budget)?
        {
            return self.shaped(shape, raw, layers);
        }
        self.event(keys, json.len())
    }

    fn event(&mut self, keys: EventKeys<'a>, size: usize) -> Result<(), Refusal> {
        event::flatten(
            keys,
            size,
            self.arena,
            &mut self.budget,
            &mut self.envelope.facts,
        )
    }

    fn shaped(&mut self, shape: Shape<'a>, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match shape {
            Shape::Envelope(value, place) => {
                let layers = layers.envelope()?;
                let text = match value.get() {
                    json if json.starts_with('"') => unescape(json, self.arena).map_or("", trim),
                    json => json,
                };
                let length = self.place.len();
                self.place.push_str(place);
                let read = self.part(raw, |reader| reader.text(text, raw, layers));
                self.place.truncate(length);
                read
            }
            Shape::Events(events) => self.events(events, raw),
            Shape::Cleared => Err(Refusal::new(
                Reason::NotAnEvent,
                "the body only clears the data layer: its `ecommerce` is null",
            )),
        }
    }

    fn events(&mut self, events: Vec<Rewritten<'a>>, raw: &'a [u8]) -> Result<(), Refusal> {
        for event in events {
            self.part(raw, |reader| {
                EventKeys::read(event.json, reader.arena)
                    .and_then(|keys| reader.event(keys, event.json.len()))
                    .map_err(|refusal| event.place(refusal))
            })?;
        }
        Ok(())
    }

    fn array(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        let Some(elements) = Raw::read(text, false).elements() else {
            return self.no_json(text, raw, layers);
        };
        if shape::is_s3_pointer(&elements) {
            return Err(Refusal::new(
                Reason::S3Pointer,
                "the body points to an object in S3, where the Amazon SQS Extended Client Library has put the event; \
                 send events that fit into a message, or read the object before this pipeline",
            ));
        }
        self.elements(elements, layers)
    }

    /// Reads elements, each of which is accepted or rejected by itself. Pushes that clear a data layer are
    /// passed over, unless there is nothing else.
    fn elements(&mut self, elements: Vec<Raw<'a>>, layers: Layers) -> Result<(), Refusal> {
        if elements.is_empty() {
            return Err(Refusal::new(
                Reason::NotAnEvent,
                "the body is an empty array",
            ));
        }
        let clears = |element: Raw<'_>| {
            element.get().len() < 64
                && element.get().split_whitespace().collect::<String>() == r#"{"ecommerce":null}"#
        };
        let mut passed_over = None;
        let mut count = 0;
        for (index, element) in elements.into_iter().enumerate() {
            if clears(element) {
                passed_over = Some(element.get());
                continue;
            }
            count += 1;
            let text = element.get();
            self.element(index, text, |reader| match text.as_bytes().first() {
                Some(b'{') => reader.object(text, text.as_bytes(), layers),
                Some(b'"') => reader.text(text, text.as_bytes(), layers),
                _ => Err(no_event(text)),
            })?;
        }
        match passed_over {
            Some(text) if count == 0 => self.object(text, text.as_bytes(), layers),
            _ => Ok(()),
        }
    }

    /// Reads what begins as JSON and is none.
    fn no_json(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        let mut documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        let mut elements = Vec::new();
        let error = loop {
            match documents.next() {
                Some(Ok(document)) => elements.push(Raw::from(document)),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        if elements.len() > 1 || error.is_some() && !elements.is_empty() {
            let rest = trim(text.get(documents.byte_offset()..).unwrap_or_default());
            let count = elements.len();
            self.elements(elements, layers)?;
            return match error {
                Some(error) => {
                    self.element(count, rest, |reader| reader.rest(rest, &error, layers))
                }
                None => Ok(()),
            };
        }
        if !text.starts_with(['{', '"']) && log_line::is_log_line(text) {
            return self.log_lines(text, raw);
        }
        if printed_rows::is_rows(text) {
            let json = printed_rows::read(text, Names::Event, self.arena)
                .map_err(|fault| malformed(&fault, text))?;
            return self.rewritten(json, raw, layers);
        }
        let printed = literal_plist_or_rows(text, Names::Event, self.arena);
        match (printed, error) {
            (Ok(json), Some(_)) => self.rewritten(json, raw, layers),
            (Err(fault), Some(error)) if is_further(&fault, text, &error) => {
                Err(malformed(&fault, text))
            }
            (_, Some(error)) => Err(not_json(&error)),
            (_, None) => Err(no_event(text)),
        }
    }

    /// Reads what follows documents and is no JSON, perhaps because of what stands between them.
    fn rest(
        &mut self,
        text: &'a str,
        error: &serde_json::Error,
        layers: Layers,
    ) -> Result<(), Refusal> {
        match literal_or_plist(text, self.arena) {
            Ok(json) => self.rewritten(json, text.as_bytes(), layers),
            Err(_) => Err(not_json(error)),
        }
    }

    /// Reads the JSON that a literal means: one event, a list of them, or a string.
    fn rewritten(&mut self, json: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match Raw::read(json, false).elements() {
            Some(elements) => self.elements(elements, layers),
            None if json.starts_with('{') => self.object(json, raw, layers),
            None if json.starts_with('"') => self.text(json, raw, layers),
            None => Err(no_event(json)),
        }
    }

    /// Reads what does not begin as JSON.
    fn other(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        if is_json(text) {
            return Err(no_event(text));
        }
        if log_line::is_log_line(text) {
            return self.log_lines(text, raw);
        }
        if let Some(part) = literal::part(text) {
            let before = text.len() - part.len();
            return match literal_or_plist(part, self.arena) {
                Ok(json) => self.rewritten(json, raw, layers),
                Err(fault) => Err(malformed(&fault.after(before), text)),
            };
        }
        if hit::is_hit(text) {
            let events = hit::read(text, self.arena, &mut self.budget)?;
            return self.events(events, raw);
        }
        if let Some(bytes) = compressed::from_base64(text).filter(|bytes| is_known(bytes)) {
            return self.bytes(self.arena.slice(&bytes), raw, layers.envelope()?);
        }
        Err(no_event(text))
    }

    fn log_lines(&mut self, text: &'a str, raw: &'a [u8]) -> Result<(), Refusal> {
        let events = log_line::read(text, self.arena).map_err(|fault| malformed(&fault, text))?;
        self.events(events, raw)
    }
}

/// Whether what was in base64 is worth reading: nearly any word is base64 of something.
fn is_known(bytes: &[u8]) -> bool {
    let text = || std::str::from_utf8(bytes).map(trim).unwrap_or_default();
    compressed::is_gzip(bytes)
        || text().starts_with(['{', '[', '"', '('])
        || log_line::is_log_line(text())
        || hit::is_hit(text())
        || compressed::from_base64(text()).is_some_and(|bytes| compressed::is_gzip(&bytes))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn no_event(json: &str) -> Refusal {
    let kind = match (
        serde_json::from_str::<&RawValue>(json),
        json.as_bytes().first(),
    ) {
        (Err(error), _) => return not_json(&error),
        (Ok(_), Some(b'"')) => "a JSON string",
        (Ok(_), Some(b'[')) => "a JSON array",
        (Ok(_), Some(b'n')) => "null",
        (Ok(_), Some(b't' | b'f')) => "true or false",
        (Ok(_), _) => "a number",
    };
    Refusal::new(
        Reason::NotAnEvent,
        format!("an event is a JSON object, this is {kind}"),
    )
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(Reason::NotJson, format!("the body is no JSON: {error}"))
}

fn malformed(fault: &Fault, text: &str) -> Refusal {
    let detail = format!("the body can't be read: {}", fault.sentence(text));
    Refusal::new(fault.reason(Reason::Malformed), detail)
}
