// The JSON contract of `millrace why`, byte for byte, and its text.
#include "cli/why_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace millrace::cli {
namespace {

proto::WhyReply Reply() {
  proto::WhyReply reply;
  reply.set_job_id("\x3f\x9a\x2c\x1b" + std::string(12, '\0'));
  reply.set_name("word\ncount");
  reply.set_state(proto::RUNNING);
  reply.mutable_task()->set_kind(proto::REDUCE_TASK);
  reply.mutable_task()->set_index(3);
  proto::WhyCause* cause = reply.add_causes();
  cause->set_code(proto::MAPS_MISSING);
  cause->set_text("2 of 14 maps are not done");
  cause->set_count(2);
  cause->set_of(14);
  cause = reply.add_causes();
  cause->set_code(proto::LOST_WITH_WORKER);
  cause->set_depth(1);
  cause->set_text("map 11 is done again");
  cause->mutable_task()->set_kind(proto::MAP_TASK);
  cause->mutable_task()->set_index(11);
  cause->add_workers("w2");
  cause->set_for_ms(1500);
  cause = reply.add_causes();
  cause->set_code(proto::SLOTS_OF_JOB);
  cause->set_depth(2);
  cause->set_text("job 77aa0011 has 4 of them\x1b[31m");
  cause->set_job_id(std::string("\x77\xaa\x00\x11", 4));
  cause->set_ends_in_ms(7);
  cause->set_failure(proto::CRASHED);
  return reply;
}

TEST(WhyFormatTest, CausesStandBelowWhatTheyExplain) {
  EXPECT_EQ(WhyText(Reply()),
            "word\\ncount 3f9a2c1b/r3: RUNNING\n"
            "  2 of 14 maps are not done\n"
            "    map 11 is done again\n"
            "      job 77aa0011 has 4 of them\\x1b[31m\n");
  proto::WhyReply job = Reply();
  job.clear_task();
  EXPECT_EQ(WhyText(job).substr(0, 31), "word\\ncount 3f9a2c1b: RUNNING\n ");
  // However deep it goes.
  job.mutable_causes(2)->set_depth(1u << 31);
  EXPECT_LT(WhyText(job).size(), 300u);
}

TEST(WhyFormatTest, JsonIsAContract) {
  EXPECT_EQ(
      WhyJson(Reply()).dump(),
      R"({"id":"3f9a2c1b000000000000000000000000","name":"word\ncount",)"
      R"("state":"RUNNING","task":"r3","causes":[)"
      R"({"code":"MAPS_MISSING","depth":0,)"
      R"("text":"2 of 14 maps are not done","task":null,"workers":[],)"
      R"("job":null,"for_ms":0,"ends_in_ms":0,"count":2,"of":14,)"
      R"("failure":null},)"
      R"({"code":"LOST_WITH_WORKER","depth":1,"text":"map 11 is done again",)"
      R"("task":"m11","workers":["w2"],"job":null,"for_ms":1500,)"
      R"("ends_in_ms":0,"count":0,"of":0,"failure":null},)"
      R"({"code":"SLOTS_OF_JOB","depth":2,)"
      R"("text":"job 77aa0011 has 4 of them\u001b[31m","task":null,)"
      R"("workers":[],"job":"77aa0011","for_ms":0,"ends_in_ms":7,"count":0,)"
      R"("of":0,"failure":"CRASHED"}]})");
}

TEST(WhyFormatTest, SubjectsAreJobsOrTasks) {
  const auto job = ParseWhySubject("3f9a");
  ASSERT_TRUE(job.has_value());
  EXPECT_EQ(job->job, "3f9a");
  EXPECT_FALSE(job->task.has_value());
  const auto task = ParseWhySubject("3f9a/m17");
  ASSERT_TRUE(task.has_value());
  EXPECT_EQ(task->job, "3f9a");
  EXPECT_EQ(task->task->kind(), proto::MAP_TASK);
  EXPECT_EQ(task->task->index(), 17u);
  for (const char* wrong : {"3f9a/", "3f9a/x", "3f9a/m17/2", "3f9a/m", "/"}) {
    EXPECT_FALSE(ParseWhySubject(wrong).has_value()) << wrong;
  }
}

}  // namespace
}  // namespace millrace::cli
