//! Nodes register themselves, and a receipt is given only when no node admits a token any more. Time comes from
//! clocks that the tests set.

mod members;
mod receipts;
mod support;
