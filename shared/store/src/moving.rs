//! Moving a deployment from SQLite to PostgreSQL: the tables that are carried over row by row, in slices of JSON that
//! both databases make and read themselves.

/// What is neither raw rows (units, conversions) nor computed from them (moments).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Deleted ones too: their keys stay used.
    Experiments,
    Counters,
    DeadLetters,
    Losses,
    Receipts,
    AuditLog,
    ApiKeys,
    /// Of users who are not erased yet.
    Erasures,
    /// One that is not done begins anew, in the partitions there.
    Purges,
    Webhooks,
    WebhookDeliveries,
    WebhookMarks,
    WebhookLooks,
}

impl Table {
    /// In an order in which they can be written.
    pub const ALL: [Table; 13] = [
        Table::Experiments,
        Table::Counters,
        Table::DeadLetters,
        Table::Losses,
        Table::Receipts,
        Table::AuditLog,
        Table::ApiKeys,
        Table::Erasures,
        Table::Purges,
        Table::Webhooks,
        Table::WebhookDeliveries,
        Table::WebhookMarks,
        Table::WebhookLooks,
    ];
}

/// What the partitions of a deployment add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// The latest that any partition has reached.
    pub day: domain::Day,
    pub accepted: i64,
    pub lost: i64,
}
