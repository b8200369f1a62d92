//! What an e-commerce event means: one message body in, facts or rejections out.
//!
//! Pure: no I/O, no clock, no async, no panic. [`flatten`] takes any bytes whatever and gives an [`Envelope`]:
//! for each item of each event a [`Fact`], and a [`Rejection`] for each event that can't be read; it is empty
//! only where [`Options`] leave events out. The SmartModules `flatten-items` and `list-items` wrap it for the
//! topic, the PostgreSQL sink reads the envelope's types.
//!
//! What is read:
//!
//! - A body is one event, or several: as JSON in GA4's shapes (app events, Measurement Protocol, BigQuery rows,
//!   data layers, those of Universal Analytics too), as a web hit of either, as a line that a Firebase SDK
//!   logs, as a row that Java prints, as a literal of JavaScript or Python; and any of these in JSON strings, envelopes of SNS,
//!   EventBridge or the SQS source, gzip, base64. The order in which they are told apart stands in `body.rs`.
//! - An event's values stand at its top or in an object `params` or `event_params`; where both have one, the
//!   top's wins.
//! - `items` is an array of objects, one object, or a text in any of the ways in which platforms print one; the
//!   order stands in `items.rs`. An event without items is one fact without a product.
//! - Names are those of GA4, in items those of older tags as well (`id`, `name`, `position`). JSON null and the
//!   texts `(not set)`, `null`, `undefined`, `NaN` and the empty one are no values. White space at the ends of
//!   a text is cut off.
//! - Numbers are exact decimals, also where people wrote them: `1.234,56`, `€ 9,99`. What is ambiguous, as
//!   `1,234`, is no guess: it is kept in `extra` and the column is null, as with all that a column can't hold.
//! - Keys that no column takes are kept in [`Extra`]. Parameters (`item_params` of an item, `event_params` of an
//!   event) become keys there, under their own names and with their own types.
//! - What PostgreSQL can't hold never comes out: U+0000 is removed and counted, half surrogate pairs become
//!   U+FFFD, values of `extra` that `jsonb` refuses become strings.
//!
//! Every text is borrowed from the body or an [`Arena`]; objects are never built as trees. A format that is no
//! plain JSON event is rewritten as one, so that all that follows is the same for all.
#![forbid(unsafe_code)]

mod arena;
mod body;
mod borrow;
mod budget;
mod canonical;
mod decimal;
mod envelope;
mod event;
mod extra;
mod fact;
mod formats;
pub mod hash;
mod item;
mod items;
mod json;
mod keys;
mod layers;
mod money;
mod options;
mod raw;
mod rejection;
mod scan;
mod swar;
mod time;
mod unknown;
mod value;
mod write;

pub use arena::Arena;
pub use body::{flatten, flatten_in, reject};
pub use decimal::{Decimal, MAX_DIGITS};
pub use envelope::Envelope;
pub use extra::Extra;
pub use fact::Fact;
pub use hash::{FactHash, NoFactHash};
pub use options::{BadOption, Options};
pub use rejection::{Reason, Rejection};
