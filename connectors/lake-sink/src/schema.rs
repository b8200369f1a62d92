//! The columns of the tables, and how a table that exists is brought up to them.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{
    NestedField, NullOrder, PartitionSpec, PrimitiveType, Schema, SortDirection, SortField,
    SortOrder, Transform, Type, UnboundPartitionField, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableCreation};

use crate::error::Error;
use crate::rows::decimal::{PRECISION, SCALE};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// An amount or a quantity: `decimal(38, 18)`.
    Number,
    /// A whole number of up to 38 digits: `decimal(38, 0)`.
    Whole,
    /// A moment, in microseconds, in UTC.
    Time,
}

impl Kind {
    fn iceberg(self) -> Type {
        let decimal = |scale| PrimitiveType::Decimal {
            precision: PRECISION as u32,
            scale,
        };
        Type::Primitive(match self {
            Self::Text => PrimitiveType::String,
            Self::Int => PrimitiveType::Int,
            Self::Long => PrimitiveType::Long,
            Self::Number => decimal(SCALE as u32),
            Self::Whole => decimal(0),
            Self::Time => PrimitiveType::Timestamptz,
        })
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// True if no row lacks a value.
    pub is_required: bool,
    /// What it holds, for the catalog.
    pub doc: &'static str,
}

/// The definition of a table. The order of its columns is that of their field ids, so a new column
/// goes to the end.
#[derive(Debug)]
pub struct Definition {
    /// The columns.
    pub columns: &'static [Column],
    /// The time by whose day the table is partitioned.
    pub time: &'static str,
    /// The columns that the rows of a file are sorted by.
    pub sorted_by: &'static [&'static str],
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column {
        name,
        kind,
        is_required: true,
        doc,
    }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column {
        name,
        kind,
        is_required: false,
        doc,
    }
}

/// The facts: PostgreSQL's `fact_events` with the product and the list in each row, as the event
/// has them. [`crate::rows::facts`] fills the columns in this order.
pub const FACTS: Definition = Definition {
    columns: &[
        required("event_time", Kind::Time, "The event's time"),
        required(
            "event_name",
            Kind::Text,
            "view_item_list, view_item, begin_checkout, purchase …",
        ),
        optional("event_id", Kind::Text, "The producer's id of the event"),
        optional("user_id", Kind::Text, "The signed-in user"),
        optional("user_pseudo_id", Kind::Text, "The device or browser"),
        optional("session_id", Kind::Text, "The visit"),
        optional("platform", Kind::Text, "WEB, IOS, ANDROID or another value"),
        optional("traffic_source", Kind::Text, "The source, such as google"),
        optional(
            "traffic_medium",
            Kind::Text,
            "The medium of the source, such as cpc",
        ),
        optional("traffic_campaign", Kind::Text, "The campaign"),
        optional("device_category", Kind::Text, "mobile, tablet or desktop"),
        optional("country", Kind::Text, "The country, as sent"),
        optional("app_version", Kind::Text, "The version of the app"),
        optional("product_id", Kind::Text, "The product"),
        optional("product_name", Kind::Text, "Its name in this event"),
        optional("product_brand", Kind::Text, "Its brand in this event"),
        optional("product_category", Kind::Text, "Its category"),
        optional(
            "product_category2",
            Kind::Text,
            "The second level of the category",
        ),
        optional("product_category3", Kind::Text, "The third level"),
        optional("product_category4", Kind::Text, "The fourth level"),
        optional(
            "product_category5",
            Kind::Text,
            "The fifth level and all below it",
        ),
        optional("product_variant", Kind::Text, "Colour, size"),
        optional("list_id", Kind::Text, "The list that showed the product"),
        optional("list_name", Kind::Text, "Its name in this event"),
        optional(
            "list_position",
            Kind::Int,
            "The product's position in the list",
        ),
        required(
            "item_ordinal",
            Kind::Int,
            "The item's position in the event, from 1; 0 without items",
        ),
        optional(
            "price",
            Kind::Number,
            "The price of one unit, after its discount",
        ),
        optional("quantity", Kind::Number, "The number of units"),
        optional("discount", Kind::Number, "The discount on one unit"),
        optional("price_in_usd", Kind::Number, "The price in US dollars"),
        optional(
            "item_revenue",
            Kind::Number,
            "Price times quantity, as sent",
        ),
        optional(
            "item_revenue_in_usd",
            Kind::Number,
            "The same in US dollars",
        ),
        optional(
            "item_refund",
            Kind::Number,
            "Price times quantity of refunded units, as sent",
        ),
        optional("item_refund_in_usd", Kind::Number, "The same in US dollars"),
        optional("item_coupon", Kind::Text, "The coupon of the item"),
        optional("affiliation", Kind::Text, "The shop or supplier"),
        optional("location_id", Kind::Text, "The physical location"),
        optional("promotion_id", Kind::Text, "The promotion"),
        optional("promotion_name", Kind::Text, "The promotion's name"),
        optional("creative_name", Kind::Text, "The promotion's creative"),
        optional("creative_slot", Kind::Text, "Its slot"),
        optional("currency", Kind::Text, "ISO 4217 code"),
        optional(
            "value",
            Kind::Number,
            "The value of the whole event; don't sum it over items",
        ),
        optional("transaction_id", Kind::Text, "The order"),
        optional("tax", Kind::Number, "The tax of the whole event"),
        optional("shipping", Kind::Number, "The shipping of the whole event"),
        optional("event_coupon", Kind::Text, "The coupon of the event"),
        optional(
            "extra",
            Kind::Text,
            "A JSON object with unknown keys and unusable values",
        ),
        required(
            "fact_hash",
            Kind::Text,
            "The fact's identity, the same for a repeated event",
        ),
        optional(
            "event_version",
            Kind::Whole,
            "The event's version; the greatest one is valid",
        ),
        optional(
            "sent_at",
            Kind::Time,
            "The time when SQS received the event's message",
        ),
        required("source_topic", Kind::Text, "The topic of the record"),
        required("source_partition", Kind::Int, "The record's partition"),
        required("source_offset", Kind::Long, "The record's offset"),
    ],
    time: "event_time",
    sorted_by: &["event_name", "event_time"],
};

/// The records of the topic, as they are. [`crate::rows::raw`] fills the columns in this order.
pub const RAW: Definition = Definition {
    columns: &[
        required(
            "received_at",
            Kind::Time,
            "When the topic received the record",
        ),
        optional("key", Kind::Text, "The record's key"),
        optional("key_encoding", Kind::Text, "base64 if the key is not text"),
        required("body", Kind::Text, "The record's value"),
        optional(
            "body_encoding",
            Kind::Text,
            "base64 if the value is not text",
        ),
        required("source_topic", Kind::Text, "The topic"),
        required("source_partition", Kind::Int, "The partition"),
        required("source_offset", Kind::Long, "The offset"),
    ],
    time: "received_at",
    sorted_by: &["source_partition", "source_offset"],
};

/// The rejected events. [`crate::rows::rejected`] fills the columns in this order.
pub const REJECTIONS: Definition = Definition {
    columns: &[
        required("rejected_at", Kind::Time, "When the sink read the record"),
        required("reason", Kind::Text, "The kind of fault"),
        required("detail", Kind::Text, "The fault"),
        required("at_path", Kind::Text, "Where in the body it is"),
        required("raw", Kind::Text, "The event as it was sent"),
        optional("raw_encoding", Kind::Text, "base64 if it is not text"),
        required(
            "ordinal",
            Kind::Int,
            "The number of the rejection in its record, from 0",
        ),
        optional("source_key", Kind::Text, "The record's key"),
        required("source_topic", Kind::Text, "The topic of the record"),
        required("source_partition", Kind::Int, "The record's partition"),
        required("source_offset", Kind::Long, "The record's offset"),
    ],
    time: "rejected_at",
    sorted_by: &["source_partition", "source_offset", "ordinal"],
};

impl Definition {
    /// The creation of a table with these columns.
    ///
    /// # Errors
    /// None: the definitions are valid.
    pub fn creation(
        &self,
        name: &str,
        properties: HashMap<String, String>,
    ) -> Result<TableCreation, Error> {
        let fields = (1..).zip(self.columns).map(|(id, column)| {
            let field =
                NestedField::new(id, column.name, column.kind.iceberg(), column.is_required);
            Arc::new(field.with_doc(column.doc))
        });
        let schema = Schema::builder().with_fields(fields).build()?;
        let id = |name: &str| schema.field_id_by_name(name).unwrap_or_default();
        let day = format!("{}_day", self.time);
        // Ids as Iceberg gives them, for servers that store the request as it is.
        let partition = UnboundPartitionField::builder()
            .source_id(id(self.time))
            .field_id(1000)
            .name(day)
            .transform(Transform::Day)
            .build();
        let partitions = UnboundPartitionSpec::builder()
            .with_spec_id(0)
            .add_partition_fields([partition])?
            .build();
        let mut order = SortOrder::builder();
        for name in self.sorted_by {
            order.with_sort_field(SortField {
                source_id: id(name),
                transform: Transform::Identity,
                direction: SortDirection::Ascending,
                null_order: NullOrder::First,
            });
        }
        let order = order.build_unbound()?;
        Ok(TableCreation::builder()
            .name(name.to_owned())
            .schema(schema)
            .partition_spec(partitions)
            .sort_order(order)
            .properties(properties)
            .build())
    }

    /// Compares a table with the definition. Returns the columns that it lacks.
    ///
    /// # Errors
    /// [`Error::Incompatible`] with every reason why the sink can't write the table.
    pub fn missing(&self, table: &str, found: &Schema) -> Result<Vec<&Column>, Error> {
        let mut missing = Vec::new();
        let mut problems = Vec::new();
        for column in self.columns {
            let wanted = column.kind.iceberg();
            match found.field_by_name(column.name) {
                None if column.is_required => {
                    problems.push(format!("the required column {} is missing", column.name));
                }
                None => missing.push(column),
                Some(field) if *field.field_type != wanted => problems.push(format!(
                    "{} is {} and must be {wanted}",
                    column.name, field.field_type
                )),
                Some(_) => {}
            }
        }
        for field in found.as_struct().fields() {
            let is_ours = self.columns.iter().any(|column| column.name == field.name);
            if field.required && !is_ours {
                problems.push(format!(
                    "{} is required and the sink does not fill it",
                    field.name
                ));
            }
        }
        if problems.is_empty() {
            Ok(missing)
        } else {
            Err(Error::Incompatible {
                table: table.to_owned(),
                problems: problems.join("; "),
            })
        }
    }
}

impl Definition {
    /// Checks that the table is partitioned by the day of its time, so that each file has rows of
    /// one day.
    ///
    /// # Errors
    /// [`Error::Incompatible`]
    pub fn check_partitions(
        &self,
        table: &str,
        schema: &Schema,
        found: &PartitionSpec,
    ) -> Result<(), Error> {
        let time = schema.field_id_by_name(self.time);
        match found.fields() {
            [field] if field.transform == Transform::Day && Some(field.source_id) == time => Ok(()),
            _ => Err(Error::Incompatible {
                table: table.to_owned(),
                problems: format!("it must be partitioned by day({}) only", self.time),
            }),
        }
    }
}

impl Column {
    /// The column for an existing table.
    #[must_use]
    pub fn addition(&self) -> iceberg::transaction::AddColumn {
        iceberg::transaction::AddColumn::builder()
            .name(self.name)
            .field_type(self.kind.iceberg())
            .doc(self.doc)
            .build()
    }
}

/// A namespace by its name, whose levels have points between them.
///
/// # Errors
/// The name is empty.
pub fn namespace(name: &str) -> Result<NamespaceIdent, Error> {
    Ok(NamespaceIdent::from_strs(name.split('.'))?)
}
