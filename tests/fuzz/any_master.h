// What masters, mad ones too, may say to a worker.
#ifndef MILLRACE_TESTS_FUZZ_ANY_MASTER_H_
#define MILLRACE_TESTS_FUZZ_ANY_MASTER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "proto/messages/worker.pb.h"
#include "tests/fuzz/dice.h"

namespace millrace::worker {

inline std::string IdBytes(uint32_t n) {
  std::string bytes(16, '\0');
  bytes[15] = static_cast<char>(n);
  return bytes;
}

class AnyMaster {
 public:
  explicit AnyMaster(Dice& dice) : dice_(dice) {}

  // Of a blob.
  std::string AnySha() { return std::string(32, "pqr"[dice_.Below(3)]); }

  proto::MasterMessage AnyCommand(uint64_t term, const std::string& cluster) {
    proto::MasterMessage message;
    message.set_term(term);
    switch (dice_.Below(14)) {
      case 0:
        message.mutable_refused()->set_reason(
            static_cast<proto::RefusalReason>(dice_.Below(3)));
        break;
      case 1:
        message.mutable_welcome()->set_cluster_id(cluster);
        break;
      case 2:
      case 3:
        message.mutable_job()->set_job_id(AnyJob());
        *message.mutable_job()->mutable_spec() = AnySpec();
        break;
      case 4: {
        proto::MapLocation* map = message.mutable_locations()->add_maps();
        message.mutable_locations()->set_job_id(AnyJob());
        map->set_map_index(dice_.Number(4));
        map->set_attempt_uid(AnyUid());
        break;
      }
      case 5:
        message.mutable_kill()->set_attempt_uid(AnyUid());
        message.mutable_kill()->set_reason(dice_.Text());
        break;
      case 6:
        message.mutable_drop_attempt()->set_attempt_uid(AnyUid());
        message.mutable_drop_attempt()->set_job_id(AnyJob());
        break;
      case 7:
        message.mutable_drop_job()->set_job_id(AnyJob());
        message.mutable_drop_job()->set_output("/out/dir");
        message.mutable_drop_job()->set_remove_staging(dice_.OneIn(2));
        break;
      case 8:
        for (uint32_t i = dice_.Below(4); i > 0; --i) {
          message.mutable_ack()->add_attempt_uids(AnyUid());
        }
        break;
      case 9: {
        proto::Winners* winners = message.mutable_winners();
        winners_sent_ = dice_.Below(3);
        winners->set_attempt_uid(IdBytes(next_uid_));
        for (uint32_t i = 0; i < winners_sent_; ++i) {
          *winners->mutable_winner_uids() += IdBytes(100 + i);
          winners->add_bytes(dice_.Number(9));
          winners->add_records(dice_.Number(9));
          winners->add_xxh3(dice_.Number(9));
          winners->add_inodes(dice_.Number(9));
        }
        break;
      }
      default:
        *message.mutable_grant() = AnyGrant();
    }
    return dice_.Changed(std::move(message));
  }

 private:
  std::string AnyJob() { return IdBytes(dice_.Below(4)); }
  std::string AnyUid() {
    return dice_.OneIn(2) && next_uid_ > 1
               ? IdBytes(1 + dice_.Below(next_uid_ - 1))
               : IdBytes(dice_.Below(100));
  }
  proto::JobSpec AnySpec() {
    proto::JobSpec spec;
    spec.set_name("job");
    spec.set_program_sha256(AnySha());
    spec.set_program_name("prog");
    spec.set_output("/out/dir");
    spec.set_fresh_process(dice_.OneIn(4));
    if (dice_.OneIn(4)) {
      spec.add_side_files()->set_name(dice_.OneIn(2) ? "side" : dice_.Text());
      spec.mutable_side_files(0)->set_sha256(AnySha());
    }
    return spec;
  }

  proto::Grant AnyGrant() {
    proto::Grant grant;
    proto::AttemptRef* ref = grant.mutable_attempt();
    ref->set_job_id(AnyJob());
    ref->set_attempt_uid(dice_.OneIn(6) ? AnyUid() : IdBytes(next_uid_++));
    ref->mutable_task()->set_index(dice_.Number(5));
    grant.set_epoch(dice_.Number(3));
    switch (dice_.Below(6)) {
      case 0:
        grant.mutable_plan();
        ref->mutable_task()->set_kind(proto::PLAN_TASK);
        break;
      case 1:
      case 2:
        grant.mutable_map()->set_plan_sha256(AnySha());
        grant.mutable_map()->set_num_partitions(dice_.Below(4));
        ref->mutable_task()->set_kind(proto::MAP_TASK);
        break;
      case 3:
        grant.mutable_reduce()->set_num_maps(dice_.Number(3));
        grant.mutable_reduce()->set_num_partitions(dice_.Number(4));
        ref->mutable_task()->set_kind(proto::REDUCE_TASK);
        break;
      case 4:
        grant.mutable_check()->set_num_winners(winners_sent_);
        ref->mutable_task()->set_kind(proto::CHECK_TASK);
        break;
      default:
        grant.mutable_publish()->set_num_winners(winners_sent_);
        grant.mutable_publish()->set_manifest_sha256(AnySha());
        ref->mutable_task()->set_kind(proto::PUBLISH_TASK);
    }
    return grant;
  }

  Dice& dice_;
  uint32_t next_uid_ = 1;
  uint32_t winners_sent_ = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_TESTS_FUZZ_ANY_MASTER_H_
