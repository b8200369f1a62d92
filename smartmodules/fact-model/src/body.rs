//! Reads a message body: detects its format and flattens its events.
//!
//! # Order of detection
//!
//! 1. gzip, by its magic number: inflated, then detected anew. All else must be UTF-8.
//! 2. `{`: a JSON object. This is the fast path: a plain event is flattened while its keys are
//!    read. Only a key without a column can hint at another shape (`formats::shape`): an envelope
//!    of AWS, CloudEvents or the SQS source around another body, another vendor's event
//!    (`formats::vendors`), a GA4 Measurement Protocol body, a BigQuery row, a push to a data
//!    layer.
//! 3. `[`: a JSON array of such objects, or of strings that hold them; the S3 pointer of the SQS
//!    extended client; or the arguments of a call of gtag.js.
//! 4. `"`: a JSON string. Its content is detected anew, up to three strings deep.
//! 5. Invalid JSON that starts like JSON: several documents in a row, then a log line of iOS in
//!    brackets, then rows as Java prints them, then a Python or JavaScript literal, then a
//!    dictionary as iOS prints it.
//! 6. Text that doesn't start like JSON: a log line of a Firebase SDK (`formats::log_line`),
//!    `dataLayer.push(…)`, `gtag(…)` or a Python string (`formats::literal`), a web hit
//!    (`formats::hit`), base64 of gzip or of any of the above.
//!
//! If none matches, the body is rejected with the error of the reader that got furthest.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::envelope::Envelope;
use crate::event;
use crate::formats::printed::{DART, is_dart, literal_or_plist, literal_plist_or_rows};
use crate::formats::printed_rows::{self, Names};
use crate::formats::vendors::{self, gtag};
use crate::formats::{
    Envelope as Wrapper, Fault, Rewritten, Shape, compressed, hit, is_further, literal, log_line,
    shape,
};
use crate::hash;
use crate::json::{is_json, repair, trim, unescape};
use crate::keys::EventKeys;
use crate::limits::{Budget, Layers};
use crate::options::Options;
use crate::path::StepKind;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;

/// Turns any message body into facts and rejections, at least one in total.
///
/// The envelope owns its strings. [`flatten_in`] avoids the copies.
pub fn flatten(body: &[u8]) -> Envelope<'static> {
    flatten_in(&Arena::new(), &Options::default(), body, None).into_owned()
}

/// Flattens like [`flatten`], with an operator's options and with strings borrowed from the body
/// and from `arena`. `record_time` is the record's time in the topic, in ms of Unix time.
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
        // The output exceeds its limit: the rest would be lost, so the body is rejected as a whole.
        Err(too_large) => refuse(too_large, body),
    };
    hash::number_repeats(&mut envelope.facts);
    envelope.nuls_removed = arena.take_nuls();
    envelope
}

/// Rejects a body unread.
pub fn reject<'a>(body: &'a [u8], reason: Reason, detail: &str) -> Envelope<'a> {
    refuse(Refusal::new(reason, detail), body)
}

fn refuse(refusal: Refusal, body: &[u8]) -> Envelope<'_> {
    Envelope {
        rejected: vec![refusal.of("$", body)],
        ..Envelope::default()
    }
}

/// Reads one body into an envelope.
///
/// A body may have parts that are accepted or rejected separately: elements of an array, documents
/// in a row. `raw` is always the source text of the current part, and an error rejects that part.
struct Reader<'a, 'o> {
    arena: &'a Arena,
    budget: Budget<'o>,
    envelope: Envelope<'a>,
    /// The location of the current part.
    place: String,
}

impl<'a> Reader<'a, '_> {
    /// Reads a part. Only `too-large` rejects more than the part.
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

    /// Adds a step to the path of the body, if it is recorded.
    fn step(&self, kind: StepKind, detail: &str) {
        self.arena.step(kind, || detail.to_owned());
    }

    fn refuse(&mut self, refusal: Refusal, raw: &'a [u8]) -> Result<(), Refusal> {
        self.budget.spend(raw.len())?;
        let rejection = refusal.of(&self.place, raw);
        self.envelope.rejected.push(rejection);
        Ok(())
    }

    /// Reads the part with the given index.
    fn element(
        &mut self,
        index: usize,
        raw: &'a str,
        read: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let length = self.place.len();
        // Writing to a `String` can't fail.
        let _ = write!(self.place, "[{index}]");
        self.step(StepKind::Part, &self.place);
        let read = self.part(raw.as_bytes(), read);
        self.place.truncate(length);
        read
    }

    fn bytes(&mut self, bytes: &'a [u8], raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        if compressed::is_gzip(bytes) {
            let layers = layers.envelope()?;
            let inflated = compressed::inflate(bytes, self.budget.rest())?;
            // A body may hold several.
            self.budget.spend(inflated.len())?;
            self.step(StepKind::Envelope, "gzip");
            return self.bytes(self.arena.slice(&inflated), raw, layers);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let detail = format!("the body is not UTF-8: {error}");
            Refusal::new(Reason::NotUtf8, detail)
        })?;
        // A producer in C may send its string terminator.
        let without = text.trim_matches('\0');
        self.arena.count_nuls(text.len() - without.len());
        self.text(trim(without), raw, layers)
    }

    /// Reads a trimmed text.
    fn text(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match text.as_bytes().first() {
            None => Err(Refusal::new(Reason::EmptyBody, "the body is empty")),
            Some(b'{') => self.object(text, raw, layers),
            Some(b'[') => self.array(text, raw, layers),
            Some(b'"') if is_json(text) => {
                self.step(StepKind::Envelope, "a JSON string");
                let inner = unescape(repair(text, self.arena), self.arena).unwrap_or_default();
                self.text(trim(inner), raw, layers.string()?)
            }
            Some(b'"') => self.near_json(text, raw, layers),
            Some(_) => self.other(text, raw, layers),
        }
    }

    fn object(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        let json = repair(text, self.arena);
        let Ok(keys) = EventKeys::read(json, self.arena) else {
            return self.near_json(text, raw, layers);
        };
        if keys.is_shaped()
            && let Some(shape) = shape::read(json, keys.is_named(), self.arena, &mut self.budget)?
        {
            return self.shaped(shape, raw, layers);
        }
        self.step(StepKind::Format, "an event as a JSON object");
        self.event(keys, json)
    }

    fn event(&mut self, keys: EventKeys<'a>, json: &str) -> Result<(), Refusal> {
        event::flatten(
            keys,
            json,
            self.arena,
            &mut self.budget,
            &mut self.envelope.facts,
        )
    }

    fn shaped(&mut self, shape: Shape<'a>, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match shape {
            Shape::Envelope(Wrapper { name, content, at }) => {
                let layers = layers.envelope()?;
                let step = || format!("{name}; its content is at {at}");
                self.arena.step(StepKind::Envelope, step);
                let text = match content.get() {
                    json if json.starts_with('"') => unescape(json, self.arena).map_or("", trim),
                    json => json,
                };
                let length = self.place.len();
                self.place.push_str(at);
                let read = self.part(raw, |reader| reader.text(text, raw, layers));
                self.place.truncate(length);
                read
            }
            Shape::Events(events) => self.events(events, raw),
            Shape::Bodies(name, bodies) => {
                let layers = layers.envelope()?;
                let step = || format!("{name} with {} bodies", bodies.len());
                self.arena.step(StepKind::Envelope, step);
                for body in bodies {
                    let length = self.place.len();
                    self.place.push_str(&body.at);
                    self.step(StepKind::Part, &self.place);
                    let raw = body.raw.as_bytes();
                    let read = self.part(raw, |reader| reader.text(body.text, raw, layers));
                    self.place.truncate(length);
                    read?;
                }
                Ok(())
            }
            Shape::List(list) => {
                self.step(StepKind::Envelope, "an object with numbers as keys");
                self.elements(list.elements().unwrap_or_default(), layers.envelope()?)
            }
            Shape::Cleared => Err(Refusal::new(
                Reason::NotAnEvent,
                "the body only clears the data layer: its `ecommerce` is null",
            )),
        }
    }

    fn events(&mut self, events: Vec<Rewritten<'a>>, raw: &'a [u8]) -> Result<(), Refusal> {
        let is_one = events.len() == 1;
        for mut event in events {
            if !is_one {
                let place = || format!("{}{}", self.place, event.at);
                self.arena.step(StepKind::Part, place);
            }
            self.part(raw, |reader| {
                let refused = event.refused.take().map_or(Ok(()), Err);
                refused
                    .and_then(|()| EventKeys::read(event.json, reader.arena))
                    .and_then(|keys| reader.event(keys, event.json))
                    .map_err(|refusal| event.place(refusal))
            })?;
        }
        Ok(())
    }

    fn array(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        let Some(elements) = Raw::read(text, false).elements() else {
            return self.near_json(text, raw, layers);
        };
        if shape::is_s3_pointer(&elements) {
            return Err(Refusal::new(
                Reason::S3Pointer,
                "the body is in S3, where the Amazon SQS Extended Client Library has put it; set \
                 `s3-payloads: true` in the source's file",
            ));
        }
        self.elements(elements, layers)
    }

    /// Reads elements, each of which is accepted or rejected separately. Skips pushes that clear a
    /// data layer, unless there is nothing else.
    fn elements(&mut self, elements: Vec<Raw<'a>>, layers: Layers) -> Result<(), Refusal> {
        if elements.is_empty() {
            return Err(Refusal::new(
                Reason::NotAnEvent,
                "the body is an empty array",
            ));
        }
        if let Some(event) = gtag::of_list(&elements, self.arena)? {
            return EventKeys::read(event.json, self.arena)
                .and_then(|keys| self.event(keys, event.json))
                .map_err(|refusal| event.place(refusal));
        }
        let clears = |element: Raw<'_>| {
            element.get().len() < 64
                && element.get().split_whitespace().collect::<String>() == r#"{"ecommerce":null}"#
        };
        self.arena.step(StepKind::Format, || {
            format!("a list of {} elements", elements.len())
        });
        let mut skipped = None;
        let mut count = 0;
        for (index, element) in elements.into_iter().enumerate() {
            if clears(element) {
                skipped = Some(element.get());
                continue;
            }
            count += 1;
            let text = element.get();
            self.element(index, text, |reader| match text.as_bytes().first() {
                Some(b'{') => reader.object(text, text.as_bytes(), layers),
                Some(b'"') => reader.text(text, text.as_bytes(), layers),
                // The arguments of one of several calls of gtag.
                Some(b'[') if gtag::is_command(element) => {
                    reader.array(text, text.as_bytes(), layers)
                }
                _ => Err(not_an_event(text)),
            })?;
        }
        match skipped {
            Some(text) if count == 0 => self.object(text, text.as_bytes(), layers),
            _ => Ok(()),
        }
    }

    /// Reads a text that starts like JSON but is invalid.
    fn near_json(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
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
            self.step(StepKind::Envelope, "several documents");
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
            self.step(StepKind::Format, "rows as Java prints them");
            let json = printed_rows::read(text, Names::Event, self.arena)
                .map_err(|fault| malformed(&fault, text))?;
            return self.rewritten(json, raw, layers);
        }
        let printed = literal_plist_or_rows(text, Names::Event, self.arena);
        match (printed, error) {
            (Ok(json), Some(_)) => self.rewritten(json, raw, layers),
            (Err(_), Some(_)) if is_dart(text) => Err(Refusal::new(Reason::Malformed, DART)),
            (Err(fault), Some(error)) if is_further(&fault, text, &error) => {
                Err(malformed(&fault, text))
            }
            (_, Some(error)) => Err(invalid_json(&error)),
            (_, None) => Err(not_an_event(text)),
        }
    }

    /// Reads invalid JSON after valid documents, which may be a literal with separators between
    /// values.
    fn rest(
        &mut self,
        text: &'a str,
        error: &serde_json::Error,
        layers: Layers,
    ) -> Result<(), Refusal> {
        match literal_or_plist(text, self.arena) {
            Ok(json) => self.rewritten(json, text.as_bytes(), layers),
            Err(_) => Err(invalid_json(error)),
        }
    }

    /// Reads the JSON of a rewritten text: one event, a list of events, or a string.
    fn rewritten(&mut self, json: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        match Raw::read(json, false).elements() {
            Some(elements) => self.elements(elements, layers),
            None if json.starts_with('{') => self.object(json, raw, layers),
            None if json.starts_with('"') => self.text(json, raw, layers),
            None => Err(not_an_event(json)),
        }
    }

    /// Reads a text that doesn't start like JSON.
    fn other(&mut self, text: &'a str, raw: &'a [u8], layers: Layers) -> Result<(), Refusal> {
        if is_json(text) {
            return Err(not_an_event(text));
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
            self.step(StepKind::Format, "a web hit");
            let events = hit::read(text, self.arena, &mut self.budget)?;
            return self.events(events, raw);
        }
        if let Some(bytes) = compressed::from_base64(text).filter(|bytes| is_known(bytes)) {
            self.step(StepKind::Envelope, "base64");
            return self.bytes(self.arena.slice(&bytes), raw, layers.envelope()?);
        }
        match vendors::known_text(text) {
            Some(sentence) => Err(Refusal::new(Reason::NotAnEvent, sentence)),
            None => Err(not_an_event(text)),
        }
    }

    fn log_lines(&mut self, text: &'a str, raw: &'a [u8]) -> Result<(), Refusal> {
        self.step(StepKind::Format, "log lines of a Firebase SDK");
        let events = log_line::read(text, self.arena).map_err(|fault| malformed(&fault, text))?;
        self.events(events, raw)
    }
}

/// Returns true if decoded base64 is in a known format. Nearly any word is valid base64.
fn is_known(bytes: &[u8]) -> bool {
    let text = || std::str::from_utf8(bytes).map(trim).unwrap_or_default();
    compressed::is_gzip(bytes)
        || text().starts_with(['{', '[', '"', '('])
        || log_line::is_log_line(text())
        || hit::is_hit(text())
        || compressed::from_base64(text()).is_some_and(|bytes| compressed::is_gzip(&bytes))
}

fn not_an_event(json: &str) -> Refusal {
    let kind = match (
        serde_json::from_str::<&RawValue>(json),
        json.as_bytes().first(),
    ) {
        (Err(error), _) => return invalid_json(&error),
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

fn invalid_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(Reason::NotJson, format!("the body is not JSON: {error}"))
}

fn malformed(fault: &Fault, text: &str) -> Refusal {
    let detail = format!("the body can't be read: {}", fault.sentence(text));
    Refusal::new(fault.reason(Reason::Malformed), detail)
}
