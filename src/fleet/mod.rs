//! The nodes that verify tokens together: they register themselves, and a change is known to have reached all of
//! them.

mod everywhere;
mod heartbeat;
mod member;
mod pace;
mod registry;

pub use everywhere::{NodeReceipt, Receipt, ReceiptStatus};
pub use member::{FleetMember, FleetMemberBuilder};
