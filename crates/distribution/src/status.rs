//! What comes back: from WorkStatuses to the objects' own status and to CombinedStatuses.
