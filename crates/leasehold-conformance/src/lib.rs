//! The conformance kit: proves that a backend is a register that a lock can stand on.
//!
//! [`backend!`] in a test module makes one test of every case, from the one list below, so that a
//! new case reaches all backends by itself and a failure reads like `file::contract_stale_loses`:
//!
//! ```text
//! struct Memory;
//! impl leasehold_conformance::Fixture for Memory { .. }
//! leasehold_conformance::backend!(Memory);
//! ```
//!
//! What a backend cannot do by its nature it [declares](Fixture::limits), with the reason, and
//! `cargo xtask test` tells it at its end. There is no other way for a case not to run.
//!
//! Four parts are of use to others too: [`Faulty`], a backend that fails as it is told, to test one's
//! own program with; [`Virtual`], hosts on a clock that jumps, with [`Apart`] for a store on a network;
//! and [`Recorder`] with [`History`], which convict any store, under any load, of answers that no
//! linearizable register gives.

mod apart;
mod contract;
mod faulty;
mod fixture;
mod history;
mod mutex;
mod once;
mod process;
mod report;
mod setup;
mod virtual_time;

pub use apart::Apart;
pub use faulty::{Call, Counts, Fault, Faulty, Gate, Request};
pub use fixture::{Fixture, Limit, Missing, Need, Store};
pub use history::{
    Asked, Contradiction, History, Operation, Recorder, Refusals, Seen, Summary, Told,
};
pub use setup::run;
use setup::{Case, Kind, Peer};
pub use virtual_time::Virtual;

macro_rules! cases {
    ($dollar:tt $($name:ident: $kind:ident $(and $need:ident)? = $($path:ident)::+;)+) => {
        pub(crate) const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            kind: Kind::$kind,
            needs: &[$(Need::$need)?],
            run: |setup| Box::pin($($path)::+(setup)),
        }),+];

        /// Makes one test of every case of the kit, for the backend that this [`Fixture`] describes.
        #[macro_export]
        macro_rules! backend {
            ($dollar fixture:expr) => {
                static FIXTURE: &dyn $crate::Fixture = &$dollar fixture;
                $(
                    #[test]
                    fn $name() {
                        $crate::run(FIXTURE, module_path!(), stringify!($name));
                    }
                )+
            };
        }
    };
}

// Every case, once. `Real` time is dear: what a clock that jumps can show is `Virtual`.
cases! { $
    contract_racing_creators: Real = contract::race::creators;
    contract_racing_swappers: Real = contract::race::swappers;
    contract_increments: Real = contract::race::increments;
    contract_reads_never_go_back: Real = contract::race::reads_never_go_back;
    contract_races_are_linearizable: Real = contract::history::races_are_linearizable;
    contract_names_are_independent: Real = contract::race::names_are_independent;
    contract_unused_is_absent: Real = contract::version::unused_is_absent;
    contract_write_tells_what_read_shows: Real = contract::version::write_tells_what_read_shows;
    contract_stale_loses: Real = contract::version::stale_loses;
    contract_stale_loses_after_many_changes: Real =
        contract::version::stale_loses_after_many_changes;
    contract_stale_loses_after_recreation: Real = contract::version::stale_loses_after_recreation;
    contract_same_bytes_are_two_states: Real and VersionsBeyondContent =
        contract::version::same_bytes_are_two_states;
    contract_create_needs_absence: Real = contract::version::create_needs_absence;
    contract_stale_delete_does_nothing: Real and ConditionalDelete =
        contract::version::stale_delete_does_nothing;
    contract_odd_names_stay_apart: Real = contract::names::stay_apart;
    contract_long_names_stay_apart: Real = contract::names::long_ones_stay_apart;
    contract_names_are_listed_by_prefix: Real = contract::names::are_listed_by_prefix;
    contract_content_round_trips: Real = contract::content::round_trips;
    contract_too_much_is_cut: Real = contract::content::too_much_is_cut;
    contract_dropped_write_is_whole: Real = contract::content::a_dropped_write_is_whole;
    contract_facts_are_as_declared: Real = contract::change::facts_are_as_declared;
    contract_changes_are_heard: Real and Notification = contract::change::changes_are_heard;
    contract_changes_before_listening_are_heard: Real and Notification =
        contract::change::changes_before_listening_are_heard;
    contract_listening_leaves_nothing: Real and Notification =
        contract::change::listening_leaves_nothing;
    contract_ages_are_true: Real and Clock = contract::change::ages_are_true;
    contract_time_goes_on: Real = contract::change::time_goes_on;
    contract_living_are_not_orphaned: Real = contract::change::the_living_are_not_orphaned;

    mutex_exclusion_holds: Real = mutex::exclusion::holds;
    mutex_rivals_of_one_process: Real = mutex::exclusion::rivals_of_one_process;
    mutex_lost_guard_blocks_nobody: Real = mutex::exclusion::lost_guard_blocks_nobody;
    mutex_try_tells_the_holder: Real = mutex::exclusion::try_tells_the_holder;
    mutex_wait_ends_in_time: Real = mutex::exclusion::wait_ends_in_time;
    mutex_run_stops_the_section: Real = mutex::exclusion::run_stops_the_section;
    mutex_blocked_user_keeps_it: Real = mutex::exclusion::blocked_user_keeps_it;
    mutex_hand_over: Real = mutex::exclusion::hand_over;

    mutex_dropped_outside_a_runtime: Real = mutex::end::dropped_outside_a_runtime;
    mutex_dropped_in_a_panic: Real = mutex::end::dropped_in_a_panic;
    mutex_dropped_in_a_shutdown: Real = mutex::end::dropped_in_a_shutdown;
    mutex_close_waits_for_releases: Real = mutex::end::close_waits_for_releases;
    mutex_release_hits_nobody_else: Real = mutex::end::release_hits_nobody_else;
    mutex_release_is_done_once: Real = mutex::end::release_is_done_once;
    mutex_listeners_may_go: Real = mutex::end::listeners_may_go;

    mutex_token_rises_whatever_happens: Virtual = mutex::token::rises_whatever_happens;
    mutex_token_rises_when_forced: Virtual = mutex::token::rises_when_forced;
    mutex_token_rises_after_deletion: Virtual = mutex::token::rises_after_deletion;
    mutex_is_shown: Virtual = mutex::token::is_shown;

    mutex_takeover_in_real_time: Real = mutex::expiry::takeover_in_real_time;
    mutex_takeover_after_one_ttl: Virtual = mutex::expiry::takeover_after_one_ttl;
    mutex_holders_ttl_counts: Virtual = mutex::expiry::holders_ttl_counts;
    mutex_takeover_delay: Virtual = mutex::expiry::takeover_delay;
    mutex_tries_add_up: Virtual = mutex::expiry::tries_add_up;
    mutex_one_heir: Virtual = mutex::expiry::one_heir;
    mutex_living_holder_stays: Virtual = mutex::expiry::living_holder_stays;
    mutex_wait_until_free: Virtual = mutex::expiry::wait_until_free;

    mutex_lost_reply_to_acquire: Virtual = mutex::network::lost_reply_to_acquire;
    mutex_lost_reply_to_renewal: Virtual = mutex::network::lost_reply_to_renewal;
    mutex_silence_is_lost_at_the_deadline: Virtual =
        mutex::network::silence_is_lost_at_the_deadline;
    mutex_slow_answers_buy_nothing: Virtual = mutex::network::slow_answers_buy_nothing;
    mutex_unheard_renewals_count_for_nothing: Virtual =
        mutex::network::unheard_renewals_count_for_nothing;
    mutex_short_outage_is_survived: Virtual = mutex::network::short_outage_is_survived;
    mutex_long_outage_is_lost: Virtual = mutex::network::long_outage_is_lost;
    mutex_denial_is_told_at_once: Virtual = mutex::network::denial_is_told_at_once;
    mutex_silence_is_told_in_time: Virtual = mutex::network::silence_is_told_in_time;
    mutex_patience_is_had: Virtual = mutex::network::patience_is_had;
    mutex_write_limit_is_kept: Virtual = mutex::network::write_limit_is_kept;
    mutex_stale_read_proves_nothing: Virtual = mutex::network::stale_read_proves_nothing;
    mutex_costs_what_it_says: Virtual = mutex::network::costs_what_it_says;
    mutex_any_weather: Virtual = mutex::weather::any_weather;

    mutex_cancel_at_every_point: Virtual = mutex::cancel::at_every_point;
    mutex_cancel_at_every_request: Virtual = mutex::cancel::at_every_request;
    mutex_cancel_late_write_finds_nothing: Virtual = mutex::cancel::late_write_finds_nothing;
    mutex_cancel_ghost_lasts_one_ttl: Virtual = mutex::cancel::ghost_lasts_one_ttl;
    mutex_cancel_in_the_queue: Virtual = mutex::cancel::in_the_queue;
    mutex_cancel_in_real_time: Real = mutex::cancel::in_real_time;

    mutex_suspension_is_counted: Virtual = mutex::clock::suspension_is_counted;
    mutex_short_suspension_is_made_up_for: Virtual = mutex::clock::short_suspension_is_made_up_for;
    mutex_suspended_waiter_has_seen_nothing: Virtual =
        mutex::clock::suspended_waiter_has_seen_nothing;
    mutex_wall_clock_jump_is_suspicious: Virtual = mutex::clock::wall_clock_jump_is_suspicious;
    mutex_wall_clock_decides_nothing: Virtual = mutex::clock::wall_clock_decides_nothing;
    mutex_guard_checks_the_clock: Virtual = mutex::clock::guard_checks_the_clock;

    mutex_waiters_are_cheap: Virtual = mutex::crowd::waiters_are_cheap;
    mutex_two_thousand_in_one_process: Virtual = mutex::crowd::two_thousand_in_one_process;
    mutex_many_clients_take_turns: Virtual = mutex::crowd::many_clients_take_turns;

    mutex_damage_is_refused_and_repaired: Virtual = mutex::damage::is_refused_and_repaired;
    mutex_damage_legible_token_is_kept: Virtual = mutex::damage::legible_token_is_kept;
    mutex_damage_holder_is_told: Virtual = mutex::damage::holder_is_told;
    mutex_damage_too_much_is_refused: Virtual = mutex::damage::too_much_is_refused;
    mutex_wrong_kind_is_refused: Virtual = mutex::damage::wrong_kind_is_refused;
    mutex_unknown_fields_survive: Virtual = mutex::damage::unknown_fields_survive;
    mutex_bad_names_are_refused: Virtual = mutex::damage::bad_names_are_refused;

    once_one_of_many_runs: Real = once::race::one_of_many_runs;
    once_cancelled_run_is_left_to_the_next: Real = once::race::cancelled_run_is_left_to_the_next;
    once_lost_run_is_stopped: Real = once::race::lost_run_is_stopped;

    once_new_key_runs_and_old_never_does: Virtual = once::keys::new_key_runs_and_old_never_does;
    once_old_keys_are_remembered: Virtual = once::keys::old_keys_are_remembered;
    once_old_completion_counts_no_more: Real = once::keys::old_completion_counts_no_more;

    once_failure_adds_up_over_all: Virtual = once::failure::adds_up_over_all;
    once_failure_run_competes_again: Virtual = once::failure::run_competes_again;
    once_failure_backs_off: Virtual = once::failure::backs_off;
    once_failure_comes_by_deadline: Virtual = once::failure::comes_by_deadline;

    once_crash_is_resumed: Virtual = once::resume::crash_is_resumed;
    once_interrupted_is_resumed_at_once: Virtual = once::resume::interrupted_is_resumed_at_once;
    once_late_end_is_superseded: Virtual = once::resume::late_end_is_superseded;
    once_late_end_counts_if_nobody_came: Virtual = once::resume::late_end_counts_if_nobody_came;

    once_not_needed_leaves_no_trace: Virtual = once::needed::not_needed_leaves_no_trace;
    once_waiters_inherit_or_ask: Virtual = once::needed::waiters_inherit_or_ask;

    once_lost_replies_are_read_back: Virtual = once::network::lost_replies_are_read_back;
    once_late_answer_changes_nothing: Virtual = once::network::late_answer_changes_nothing;
    once_late_completion_lands_in_time_or_never: Virtual =
        once::network::late_completion_lands_in_time_or_never;
    once_store_away_is_waited_for: Virtual = once::network::store_away_is_waited_for;
    once_unheard_completion_is_done: Virtual = once::network::unheard_completion_is_done;
    once_saving_survives_faults: Virtual = once::network::saving_survives_faults;
    once_any_weather: Virtual = once::weather::any_weather;

    once_wrong_kind_is_refused: Virtual = once::damage::wrong_kind_is_refused;
    once_damage_is_refused_and_untouched: Virtual = once::damage::is_refused_and_untouched;
    once_unknown_fields_survive: Virtual = once::damage::unknown_fields_survive;
    once_bad_keys_are_refused: Virtual = once::damage::bad_keys_are_refused;

    process_killed_holder_is_succeeded: Processes = process::killed_holder_is_succeeded;
    process_vanished_holder_is_succeeded: Processes = process::vanished_holder_is_succeeded;
    process_frozen_holder_is_succeeded: Processes = process::frozen_holder_is_succeeded;
    process_briefly_frozen_holder_goes_on: Processes = process::briefly_frozen_holder_goes_on;
    process_races_are_linearizable: Processes = process::races_are_linearizable;
    process_counting: Processes = process::processes_count;
    process_once_runs_in_one: Processes = once::process::runs_in_one;
    process_once_killed_runner_is_resumed: Processes = once::process::killed_runner_is_resumed;
    process_once_frozen_runner_is_superseded: Processes =
        once::process::frozen_runner_is_superseded;
}
