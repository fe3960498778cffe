//! What statements cost the database, as measured on a real one.

/// What one statement of a kind costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// The time of one core of the server, in microseconds.
    pub processor: f64,
    /// The bytes that the node and the server send each other.
    pub bytes: f64,
    /// How many statements the node sends.
    pub statements: f64,
}

impl Cost {
    const fn new(processor: f64, bytes: f64, statements: f64) -> Self {
        Self {
            processor,
            bytes,
            statements,
        }
    }

    pub(crate) fn plus(self, count: f64, each: Self) -> Self {
        Self {
            processor: self.processor + count * each.processor,
            bytes: self.bytes + count * each.bytes,
            statements: self.statements + count * each.statements,
        }
    }
}

/// What each kind of statement costs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Costs {
    /// The start of a node: it connects, checks the tables, reads the log and begins to listen.
    pub start: Cost,
    /// Another connection.
    pub connect: Cost,
    /// A look at the change log that finds nothing new.
    pub poll: Cost,
    /// Each change that it finds.
    pub change_read: Cost,
    /// Looking up a token.
    pub lookup: Cost,
    /// Each token of a lookup of many.
    pub token_read: Cost,
    /// Recording uses.
    pub usage: Cost,
    /// Each token whose uses are recorded.
    pub use_recorded: Cost,
    /// A notification, for each connection that listens.
    pub notification: Cost,
    /// A change of a token.
    pub change: Cost,
    /// Renewing the registration of a node: assumed to cost as much as recording a use.
    pub registration: Cost,
}

impl Costs {
    /// The costs on the machine on which the benches ran. The fleet's test measures them.
    pub const MEASURED: Self = Self {
        start: Cost::new(46_000.0, 13_600.0, 31.0),
        connect: Cost::new(6_300.0, 3_050.0, 2.0),
        poll: Cost::new(120.0, 213.0, 1.0),
        change_read: Cost::new(0.9, 112.0, 0.0),
        lookup: Cost::new(170.0, 390.0, 1.0),
        token_read: Cost::new(4.4, 301.0, 0.0),
        usage: Cost::new(850.0, 215.0, 1.0),
        use_recorded: Cost::new(20.0, 44.0, 0.0),
        notification: Cost::new(27.0, 34.0, 0.0),
        change: Cost::new(1_500.0, 1_850.0, 2.0),
        registration: Cost::new(850.0, 300.0, 1.0),
    };
}
