#include "raft/core/testing/mutants.h"

namespace millrace::raft {
namespace {

struct NamedMutant {
  std::string_view name;
  bool CoreMutant::*flag;
};

constexpr NamedMutant kMutants[] = {
    {"commit_old_term_by_counting", &CoreMutant::commit_old_term_by_counting},
    {"no_first_entry", &CoreMutant::no_first_entry},
    {"vote_before_durable", &CoreMutant::vote_before_durable},
    {"campaign_on_unsynced_log", &CoreMutant::campaign_on_unsynced_log},
    {"acknowledge_before_durable", &CoreMutant::acknowledge_before_durable},
    {"count_own_unsynced", &CoreMutant::count_own_unsynced},
    {"truncate_on_late_append", &CoreMutant::truncate_on_late_append},
    {"acknowledge_in_new_term", &CoreMutant::acknowledge_in_new_term},
    {"accept_aba_ack", &CoreMutant::accept_aba_ack},
    {"commit_not_capped_in_heartbeat",
     &CoreMutant::commit_not_capped_in_heartbeat},
    {"pre_vote_raises_term", &CoreMutant::pre_vote_raises_term},
    {"read_before_own_commit", &CoreMutant::read_before_own_commit},
    {"change_before_own_commit", &CoreMutant::change_before_own_commit},
    {"two_pending_changes", &CoreMutant::two_pending_changes},
    {"snapshot_over_newer_log", &CoreMutant::snapshot_over_newer_log},
    {"change_over_snapshot", &CoreMutant::change_over_snapshot},
    {"silent_on_commit", &CoreMutant::silent_on_commit},
};
static_assert(sizeof(CoreMutant) == std::size(kMutants));

}  // namespace

std::vector<std::string_view> MutantNames() {
  std::vector<std::string_view> names;
  for (const NamedMutant& mutant : kMutants) names.push_back(mutant.name);
  return names;
}

bool SetMutant(std::string_view name, CoreMutant* mutant) {
  for (const NamedMutant& known : kMutants) {
    if (known.name != name) continue;
    mutant->*known.flag = true;
    return true;
  }
  return false;
}

}  // namespace millrace::raft
