//! Turns one message body into facts and rejections.
//!
//! The crate does no I/O, reads no clock and never panics. [`flatten`] accepts any bytes and
//! returns an [`Envelope`]: one [`Fact`] for each item of each event, and one [`Rejection`] for
//! each event that can't be read. The envelope is empty only if [`Options`] filter all events out.
//! The SmartModules `flatten-items` and `list-items` wrap this crate for the topic; the PostgreSQL
//! sink reads the envelope's types.
//!
//! Rules:
//!
//! - A body holds one or more events: JSON in GA4's shapes (app events, Measurement Protocol,
//!   BigQuery rows, data layers, including those of Universal Analytics), a web hit of either, a
//!   log line of a Firebase SDK, a row as Java prints it, or a JavaScript or Python literal. Events
//!   of Segment, RudderStack, Snowplow, Meta and Shopify are read too. Any of these may be wrapped
//!   in JSON strings, in envelopes of SNS, EventBridge, Lambda, CloudEvents or the SQS source, in
//!   gzip or base64. `body.rs` lists the order of detection.
//! - Another vendor's event gets GA4's name, and its own is `vendor_event` in [`Extra`]. If it is
//!   about products and has none where its vendor documents them, it is rejected.
//! - An event's values are at its top level or in an object `params` or `event_params`. The top
//!   level wins.
//! - `items` is an array of objects, one object, or a string in any notation that platforms print.
//!   `items.rs` lists the order of detection. An event without items that has a product's keys
//!   itself has this one item; any other becomes one fact without a product.
//! - An object may be JSON in a string, and a list an object with numbers as keys.
//! - Names are GA4's. Items may also use the names of older tags (`id`, `name`, `position`). JSON
//!   null, `(not set)`, the empty string and what platforms print for a missing value (`null`,
//!   `<null>`, `None`) count as missing. White space around a string is trimmed.
//! - Traffic source, medium and campaign come from the event itself: `collected_traffic_source` in
//!   GA4's export, else the parameters `source`, `medium`, `campaign`. GA4's `traffic_source` is
//!   the source of the user's first visit and `session_traffic_source_last_click` an attribution;
//!   both stay in `extra`. Device category, country and app version are also read from the export's
//!   `device`, `geo` and `app_info`.
//! - Numbers are exact decimals, also in local notation: `1.234,56`, `€ 9,99`. An ambiguous value
//!   such as `1,234` is not guessed, unless the currency has no decimals: it is kept in `extra` and
//!   the column is null. So is any other value that a column can't hold.
//! - A text column holds up to [`MAX_TEXT`] bytes. A longer text is cut, with `…` and a hash of the
//!   whole as its end ([`cut_text`]), and is whole in `extra` under the key that it came with.
//! - Keys without a column are kept in [`Extra`]. Parameters (`item_params` of an item,
//!   `event_params` of an event) become keys there, with their own names and types.
//! - The output never contains what PostgreSQL can't store: U+0000 is removed and counted, unpaired
//!   surrogates become U+FFFD, and values that `jsonb` refuses become strings.
//!
//! Strings are borrowed from the body or an [`Arena`]; no JSON tree is built. Other formats are
//! rewritten as JSON first, so all events pass through the same code.
#![forbid(unsafe_code)]

mod body;
mod columns;
mod decimal;
mod envelope;
mod event;
mod explain;
mod extra;
mod fact;
mod formats;
pub mod hash;
mod item;
mod items;
mod json;
mod keys;
mod limits;
mod money;
mod names;
mod options;
mod path;
mod plan;
mod raw;
mod rejection;
mod scan;
mod swar;
mod text;
mod time;
mod unknown;
mod value;
mod write;

pub use body::{flatten, flatten_in, reject};
pub use decimal::{Decimal, MAX_DIGITS};
pub use envelope::Envelope;
pub use extra::Extra;
pub use fact::{Fact, FactHash, NotAFactHash};
pub use formats::compressed::unpack;
pub use limits::{MAX_TEXT, cut_text};
pub use options::{BadOption, Options};
pub use path::{Step, StepKind};
pub use rejection::{Reason, Rejection};
pub use text::Arena;
