//! What comes back: from WorkStatuses to the objects' own status and to CombinedStatuses.

pub mod aggregate;
pub mod answer;
pub mod collector;
pub mod decide;
pub mod number;
pub mod row;
