//! How a new configuration spreads over the WECs of a placement: the settings.

use crate::kind::part;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

part! {
    /// How a change spreads.
    RolloutStrategy {
        /// `All` (the default), `Progressive` or `ProgressivePerGroup`.
        r#type: String,
        /// Settings of `All`.
        all: Option<RolloutAll>,
        /// Settings of `Progressive`.
        progressive: Option<RolloutProgressive>,
        /// Settings of `ProgressivePerGroup`.
        progressive_per_group: Option<RolloutPerGroup>,
    }
}

part! {
    /// All WECs at once.
    RolloutAll {
        /// How long a WEC must be well before it counts, as Go writes durations; `0` if empty.
        min_success_time: String,
        /// After which time a WEC that has not come through has failed, as `2h`, `90m` or `None`.
        progress_deadline: String,
        /// How many may fail before the change stops, as a number or a share; 0 if absent.
        max_failures: Option<IntOrString>,
    }
}

part! {
    /// Some WECs at a time.
    RolloutProgressive {
        /// How long a WEC must be well before it counts.
        min_success_time: String,
        /// After which time a WEC that has not come through has failed.
        progress_deadline: String,
        /// How many may fail before the change stops.
        max_failures: Option<IntOrString>,
        /// Groups that go first, one after the other.
        mandatory_decision_groups: Vec<MandatoryGroup>,
        /// How many WECs change at a time; all of a decision group if absent.
        max_concurrency: Option<IntOrString>,
    }
}

part! {
    /// One decision group after the other.
    RolloutPerGroup {
        /// How long a WEC must be well before it counts.
        min_success_time: String,
        /// After which time a WEC that has not come through has failed.
        progress_deadline: String,
        /// How many may fail before the change stops.
        max_failures: Option<IntOrString>,
        /// Groups that go first, one after the other.
        mandatory_decision_groups: Vec<MandatoryGroup>,
    }
}

part! {
    /// A decision group that goes first: by name, else by index.
    MandatoryGroup {
        /// Name of the group.
        group_name: String,
        /// Index of the group, counted from 0.
        group_index: i32,
    }
}
