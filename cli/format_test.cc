// The JSON contracts and the tables, byte for byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "cli/job_format.h"
#include "cli/job_report.h"
#include "cli/progress.h"
#include "cli/suggest.h"
#include "cli/table.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSubmitted = 1'700'000'000'000;  // 2023-11-14T22:13:20Z

proto::JobStatus Running() {
  proto::JobStatus status;
  status.set_job_id("\x3f\x9a\x2c\x1b" + std::string(12, '\0'));
  status.set_name("wordcount");
  status.set_user("ada");
  status.set_state(proto::RUNNING);
  status.set_output("/data/out");
  status.set_planned(true);
  status.mutable_maps()->set_total(8);
  status.mutable_maps()->set_done(3);
  status.mutable_maps()->set_running(4);
  status.mutable_reduces()->set_total(10);
  status.mutable_attempts()->set_launched(9);
  status.mutable_attempts()->set_failed(1);
  status.mutable_attempts()->set_speculative(1);
  status.set_submitted_at_ms(kSubmitted);
  status.set_started_at_ms(kSubmitted + 1500);
  status.set_input_bytes(1 << 30);
  status.set_input_bytes_done(400 << 20);
  status.set_shuffle_bytes_total(30 << 20);
  status.set_shuffle_bytes_done(10 << 20);
  return status;
}

proto::JobStatus Failed() {
  proto::JobStatus status = Running();
  status.set_state(proto::FAILED);
  status.set_finished_at_ms(kSubmitted + 62'500);
  proto::JobFailure& failure = *status.mutable_failure();
  failure.set_cause(proto::USER_EXCEPTION);
  failure.set_message("map at a.txt:17: std::out_of_range: no such word");
  failure.set_stack("Tokenize::Map(a.cc:9)\nmillrace::Run()\n");
  failure.set_log_tail("looking up\nword \x1b[31m\n");
  failure.set_worker("worker-2");
  failure.mutable_attempt()->set_number(3);
  failure.mutable_attempt()->mutable_task()->set_kind(proto::MAP_TASK);
  failure.mutable_attempt()->mutable_task()->set_index(17);
  return status;
}

const absl::Time kNow = absl::FromUnixMillis(kSubmitted + 61'500);

TEST(JobJsonTest, StatusIsAContract) {
  EXPECT_EQ(FormatJson(JobJson(Running())), R"({
  "id": "3f9a2c1b000000000000000000000000",
  "name": "wordcount",
  "user": "ada",
  "state": "RUNNING",
  "cause": null,
  "waiting_for": null,
  "output": "/data/out",
  "planned": true,
  "maps": {
    "total": 8,
    "done": 3,
    "running": 4
  },
  "reduces": {
    "total": 10,
    "done": 0,
    "running": 0
  },
  "attempts": {
    "launched": 9,
    "failed": 1,
    "lost": 0,
    "speculative": 1
  },
  "bad_records": 0,
  "largest_reduce": null,
  "epoch": 0,
  "input_bytes": 1073741824,
  "input_bytes_done": 419430400,
  "shuffle_bytes": 31457280,
  "shuffle_bytes_done": 10485760,
  "output_bytes": 0,
  "output_records": 0,
  "submitted_at": "2023-11-14T22:13:20.000Z",
  "started_at": "2023-11-14T22:13:21.500Z",
  "finished_at": null
}
)");
}

TEST(JobJsonTest, CauseHasCodeAndTextAndPlace) {
  const Json json = JobJson(Failed());
  EXPECT_EQ(json["state"], "FAILED");
  EXPECT_EQ(json["cause"].dump(),
            R"({"code":"USER_EXCEPTION","text":"map at a.txt:17: )"
            R"(std::out_of_range: no such word","task":"m17","attempt":3,)"
            R"("worker":"worker-2"})");
  EXPECT_EQ(json["finished_at"], "2023-11-14T22:14:22.500Z");
}

TEST(JobJsonTest, TheLargestReduceIsNamedAndSkewToldToPeople) {
  proto::JobStatus status = Running();
  EXPECT_THAT(JobText(status, kNow), Not(HasSubstr("skew")));
  status.mutable_largest_reduce()->set_reduce(7);
  status.mutable_largest_reduce()->set_records(1'900'000);
  status.mutable_largest_reduce()->set_records_of_all(2'800'000);
  EXPECT_EQ(JobJson(status)["largest_reduce"].dump(),
            R"({"reduce":7,"records":1900000,"records_of_all":2800000})");
  EXPECT_THAT(JobText(status, kNow),
              HasSubstr("  skew         r7 was given 68 % of the 2800000 "
                        "records, 19 times as many as the others on average"));
  // As many as the others.
  status.mutable_largest_reduce()->set_records(280'000);
  EXPECT_THAT(JobText(status, kNow), Not(HasSubstr("skew")));
}

TEST(JobJsonTest, EveryStateHasItsName) {
  proto::JobStatus status;
  for (const auto& [state, name] : {std::pair{proto::QUEUED, "QUEUED"},
                                    {proto::RUNNING, "RUNNING"},
                                    {proto::COMMITTING, "COMMITTING"},
                                    {proto::SUCCEEDED, "SUCCEEDED"},
                                    {proto::FAILED, "FAILED"},
                                    {proto::KILLED, "KILLED"}}) {
    status.set_state(state);
    EXPECT_EQ(JobJson(status)["state"], name);
  }
}

TEST(JobJsonTest, BytesThatAreNoUtf8DoNotBreakIt) {
  proto::JobStatus status = Running();
  status.set_output("/data/\xff\xfe");
  const Json parsed = Json::parse(FormatJson(JobJson(status)));
  EXPECT_THAT(parsed["output"].get<std::string>(), HasSubstr("/data/"));
}

TEST(JobJsonTest, DescribeHasAllOfIt) {
  proto::GetJobReply job;
  *job.mutable_status() = Failed();
  job.mutable_spec()->set_program_name("wordcount");
  job.mutable_spec()->add_inputs("/data/in");
  proto::TaskStatus& task = *job.add_tasks();
  task.mutable_task()->set_kind(proto::REDUCE_TASK);
  task.mutable_task()->set_index(2);
  task.set_state("waiting");
  task.set_worker("worker-1");
  task.set_second_worker("worker-3");
  proto::AvoidedWorker& avoided = *job.add_avoided();
  avoided.set_worker("worker-7");
  avoided.set_tasks(3);
  avoided.set_why("no licence found");
  proto::Counter& counter = *job.add_counters();
  counter.set_group("millrace");
  counter.set_name("MAP_INPUT_RECORDS");
  counter.set_value(17);
  const Json json = JobDetailJson(job);
  EXPECT_EQ(json["cause"]["stack"], "Tokenize::Map(a.cc:9)\nmillrace::Run()\n");
  EXPECT_EQ(json["spec"]["inputs"].dump(), R"(["/data/in"])");
  EXPECT_EQ(json["tasks"][0]["task"], "r2");
  EXPECT_EQ(json["tasks"][0]["last_failure"], nullptr);
  EXPECT_EQ(json["tasks"][0]["second_worker"], "worker-3");
  EXPECT_EQ(json["avoided_workers"].dump(),
            R"([{"worker":"worker-7","tasks":3,"why":"no licence found"}])");
  EXPECT_EQ(json["counters"].dump(),
            R"([{"group":"millrace","name":"MAP_INPUT_RECORDS","value":17}])");
  const std::string text = JobDetailText(job, kNow);
  for (const char* part :
       {"Tokenize::Map", "looking up", "r2", "/data/in", "MAP_INPUT_RECORDS",
        "m17/3 on worker-2", "worker-1 + worker-3",
        "worker-7: 3 tasks failed there"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(JobTextTest, DetailsSayWhySizesAreWhatTheyAre) {
  proto::GetJobReply job;
  *job.mutable_status() = Running();
  job.mutable_spec()->add_inputs("/data/in");
  job.mutable_spec()->set_map_output_codec("lz4");
  const std::string text = JobDetailText(job, kNow);
  EXPECT_THAT(
      text,
      HasSubstr("  sizes        8 maps of 128 MiB: an eighth of the input "
                "(--split-bytes)\n"
                "               10 reduces: the program asks for it "
                "(--reducers)\n"
                "               intermediate data lz4 (--codec)\n"));
  job.mutable_status()->mutable_reduces()->set_total(8);
  EXPECT_THAT(JobDetailText(job, kNow),
              HasSubstr("8 reduces: one per 128 MiB of input (--reducers)"));
  job.mutable_status()->set_map_output_estimate(57 << 20);
  EXPECT_THAT(JobDetailText(job, kNow),
              HasSubstr("8 reduces: enough to share the work, 57 MiB of map "
                        "output by a sample (--reducers)"));
  job.mutable_status()->set_planned(false);
  EXPECT_THAT(JobDetailText(job, kNow), Not(HasSubstr("sizes")));
}

TEST(JobJsonTest, WorkersAndMastersAreContracts) {
  proto::WorkerStatus worker;
  worker.set_incarnation(std::string(16, '\x01'));
  worker.set_name("worker-1");
  worker.set_host_id("h1");
  worker.set_address("127.0.0.1:7001");
  worker.set_pid(4711);
  worker.set_state("up");
  worker.set_slots(4);
  worker.set_running(2);
  worker.set_version("0.1.0");
  worker.set_free_disk_bytes(uint64_t{5} << 30);
  worker.set_spool_bytes(uint64_t{3} << 30);
  worker.set_memory_guard("cgroup-v2");
  EXPECT_EQ(WorkerJson(worker).dump(),
            R"({"id":"worker-1","address":"127.0.0.1:7001","pid":4711,)"
            R"("state":"up","host":"h1",)"
            R"("incarnation":"01010101010101010101010101010101",)"
            R"("slots":4,"running":2,"free_disk_bytes":5368709120,)"
            R"("version":"0.1.0","why":null,"excluded_for_ms":0,)"
            R"("outputs_needed":0,"disk_low":false,"disk_why":null,)"
            R"("spool_bytes":3221225472,"spool_limit_bytes":0,)"
            R"("memory_guard":"cgroup-v2"})");
  EXPECT_EQ(WorkersTable({worker}, false),
            "ID        ADDRESS          PID  STATE  SLOTS  RUNNING\n"
            "worker-1  127.0.0.1:7001  4711  up         4        2\n");
  EXPECT_EQ(WorkersTable({worker}, true),
            "ID        ADDRESS          PID  STATE  SLOTS  RUNNING  HOST  "
            "FREE DISK    SPOOL  MEMORY LIMIT  VERSION  INCARNATION\n"
            "worker-1  127.0.0.1:7001  4711  up         4        2  h1    "
            "  5.0 GiB  3.0 GiB  cgroup-v2     0.1.0    "
            "01010101010101010101010101010101\n");
  proto::WorkerStatus sick = worker;
  sick.set_state("excluded");
  sick.set_why("map 3 of job 0a0b: disk full");
  sick.set_excluded_for_ms(25'000);
  proto::WorkerStatus leaving = worker;
  leaving.set_state("draining");
  leaving.set_outputs_needed(2);
  proto::WorkerStatus full = worker;
  full.set_disk_low(true);
  full.set_disk_why("the spool has 9.0 GiB of 9.0 GiB (--spool-limit)");
  EXPECT_THAT(WorkersTable({full}, false),
              HasSubstr("  takes no tasks: the spool has 9.0 GiB of 9.0 GiB "
                        "(--spool-limit)\n"));
  EXPECT_EQ(WorkerJson(full)["disk_why"], full.disk_why());
  EXPECT_EQ(WorkersTable({sick, worker, leaving}, false),
            "ID        ADDRESS          PID  STATE     SLOTS  RUNNING  NOTE\n"
            "worker-1  127.0.0.1:7001  4711  excluded      4        2  "
            "for 25 s more: map 3 of job 0a0b: disk full\n"
            "worker-1  127.0.0.1:7001  4711  up            4        2  -\n"
            "worker-1  127.0.0.1:7001  4711  draining      4        2  "
            "2 map outputs still needed\n");

  proto::ClusterReply cluster;
  proto::MasterStatus& master = *cluster.add_masters();
  master.set_id("m1");
  master.set_address("127.0.0.1:7000");
  master.set_pid(99);
  master.set_state("up");
  master.set_role("leader");
  master.set_term(3);
  master.set_version("0.1.0");
  EXPECT_EQ(MasterJson(master).dump(),
            R"({"id":"m1","address":"127.0.0.1:7000","pid":99,"state":"up",)"
            R"("role":"leader","term":3,"version":"0.1.0",)"
            R"("entries_behind":0,"waiting_for":""})");
  proto::MasterStatus& learner = *cluster.add_masters();
  learner.set_id("m2");
  learner.set_address("127.0.0.1:7001");
  learner.set_state("unreachable");
  learner.set_role("learner");
  learner.set_entries_behind(12);
  EXPECT_EQ(MastersTable(cluster, false),
            "ID  ADDRESS         PID  STATE        ROLE     TERM  BEHIND\n"
            "m1  127.0.0.1:7000   99  up           leader      3       0\n"
            "m2  127.0.0.1:7001    -  unreachable  learner     -      12\n");
}

TEST(JobTextTest, TablesLineUpAndHideControlBytes) {
  proto::JobStatus odd = Running();
  odd.set_name("a\nb");
  odd.set_state(proto::SUCCEEDED);
  odd.set_finished_at_ms(kSubmitted + 2000);
  EXPECT_EQ(JobsTable({Running(), odd}, false, kNow),
            "ID        NAME       STATE      MAPS  REDUCES       TIME\n"
            "3f9a2c1b  wordcount  RUNNING     3/8     0/10  1 min 0 s\n"
            "3f9a2c1b  a\\nb       SUCCEEDED   3/8     0/10      0.5 s\n");
  const std::string wide = JobsTable({Running()}, true, kNow);
  EXPECT_THAT(wide, HasSubstr("2023-11-14 22:13:20"));
  EXPECT_THAT(wide, HasSubstr("/data/out\n"));
  EXPECT_EQ(JobsTable({}, false, kNow),
            "ID  NAME  STATE  MAPS  REDUCES  TIME\n");
}

TEST(JobTextTest, StatusForPeople) {
  EXPECT_EQ(JobText(Running(), kNow),
            "wordcount 3f9a2c1b000000000000000000000000: RUNNING, 1 min 0 s\n"
            "  maps         3 of 8 done, 4 running\n"
            "  reduces      0 of 10 done\n"
            "  input        400 MiB of 1.0 GiB done\n"
            "  shuffle      10 MiB of 30 MiB done\n"
            "  attempts     9 launched, 1 failed, 1 speculative\n"
            "  output       /data/out\n"
            "  submitted    2023-11-14 22:13:20 by ada\n"
            "  started      2023-11-14 22:13:21\n");
  EXPECT_THAT(JobText(Failed(), kNow),
              HasSubstr("  cause        USER_EXCEPTION: map at a.txt:17"));
}

TEST(JobTextTest, TaskNamesGoBothWays) {
  for (const char* name : {"m0", "m17", "r3", "plan", "check", "publish"}) {
    const auto task = ParseTask(name);
    ASSERT_TRUE(task.has_value()) << name;
    EXPECT_EQ(TaskText(*task), name);
  }
  for (const char* name :
       {"", "m", "x1", "m-1", "m+1", "m 1", "17", "m99999999999", "plan2"}) {
    EXPECT_FALSE(ParseTask(name).has_value()) << name;
  }
}

TEST(JobTextTest, DurationsAreShort) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(4210)), "4.2 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(59)), "59 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(185)), "3 min 5 s");
  EXPECT_EQ(HumanDuration(absl::Minutes(127)), "2 h 7 min");
  EXPECT_EQ(HumanDuration(absl::Hours(100)), "4 d 4 h");
}

// -------------------------------------------------------------------- reports

TEST(JobReportTest, SuccessReadsAsAfterALocalRun) {
  proto::GetJobReply job;
  proto::JobStatus& status = *job.mutable_status();
  status = Running();
  status.set_state(proto::SUCCEEDED);
  status.set_finished_at_ms(kSubmitted + 10'000);
  status.set_output_records(1234);
  status.set_output_bytes(2048);
  status.mutable_attempts()->set_lost(2);
  for (const auto& [name, value] :
       {std::pair{"MAP_INPUT_RECORDS", 55}, {"SPILLED_RECORDS", 0}}) {
    proto::Counter& counter = *job.add_counters();
    counter.set_group("millrace");
    counter.set_name(name);
    counter.set_value(value);
  }
  EXPECT_THAT(SuccessSummary(job), Not(HasSubstr("sizes")));
  job.mutable_spec()->add_inputs("/data/in");
  job.mutable_spec()->set_num_reducers(10);
  job.mutable_spec()->set_map_output_codec("lz4");
  EXPECT_EQ(SuccessSummary(job),
            "wordcount: 1234 records, 2.0 KiB in 10 files in /data/out, "
            "10.00 s\n"
            "  input        1.0 GiB, 102 MiB/s\n"
            "  shuffle      30 MiB\n"
            "  tasks        8 maps, 10 reduces, 1 failed attempt repeated, 2 "
            "lost and repeated\n"
            "  sizes        8 maps of 128 MiB: an eighth of the input "
            "(--split-bytes)\n"
            "               10 reduces: --reducers asks for it\n"
            "               intermediate data lz4 (--codec)\n"
            "  millrace     MAP_INPUT_RECORDS  55\n");
}

TEST(JobReportTest, FailureNamesPlaceCauseAndAdvice) {
  EXPECT_EQ(FailureLine(Failed()),
            "job 3f9a2c1b (wordcount) failed: m17/3 on worker-2: "
            "USER_EXCEPTION: map at a.txt:17: std::out_of_range: no such word; "
            "run that task here, on its input, under a debugger: millrace "
            "replay JOB TASK --gdb");
  EXPECT_EQ(FailureDetails(Failed().failure()),
            "  Tokenize::Map(a.cc:9)\n"
            "  millrace::Run()\n"
            "  it printed:\n"
            "    looking up\n"
            "    word \\x1b[31m\n");
}

TEST(JobReportTest, ExitCodesFollowTheCause) {
  proto::JobStatus status;
  status.set_state(proto::SUCCEEDED);
  EXPECT_EQ(ExitCodeOfJob(status), 0);
  status.set_state(proto::KILLED);
  EXPECT_EQ(ExitCodeOfJob(status), 6);
  status.set_state(proto::FAILED);
  status.mutable_failure()->set_cause(proto::CRASHED);
  EXPECT_EQ(ExitCodeOfJob(status), 1);
  status.mutable_failure()->set_cause(proto::OUTPUT_EXISTS);
  EXPECT_EQ(ExitCodeOfJob(status), 5);
  status.mutable_failure()->set_cause(proto::INPUT_INVALID);
  EXPECT_EQ(ExitCodeOfJob(status), 1);
  status.mutable_failure()->set_cause(proto::OUTPUT_FAILED);
  EXPECT_EQ(ExitCodeOfJob(status), 1);
  status.mutable_failure()->set_cause(proto::INPUT_INVALID);
  status.mutable_failure()->mutable_attempt()->mutable_task()->set_kind(
      proto::PLAN_TASK);
  EXPECT_EQ(ExitCodeOfJob(status), 4);
  status.mutable_failure()->set_cause(proto::INPUT_UNREADABLE);
  EXPECT_EQ(ExitCodeOfJob(status), 5);
  status.mutable_failure()->set_cause(proto::INPUT_UNFIT);
  EXPECT_EQ(ExitCodeOfJob(status), 5);
  status.mutable_failure()->set_cause(proto::OUTPUT_FAILED);
  EXPECT_EQ(ExitCodeOfJob(status), 5);
}

// ------------------------------------------------------------------- progress

TEST(ProgressTest, ALineForEachPhase) {
  proto::JobStatus status = Running();
  EXPECT_EQ(ProgressLine(status, 104.0 * (1 << 20)),
            "map 3/8  400 MiB of 1.0 GiB  104 MiB/s  6 s left  reduce 0/10  "
            "shuffle 10 MiB  failed attempts: 1");
  status.mutable_maps()->set_done(8);
  status.mutable_attempts()->set_failed(0);
  status.mutable_reduces()->set_done(4);
  EXPECT_EQ(ProgressLine(status, 104.0 * (1 << 20)),
            "map 8/8  reduce 4/10  shuffle 10 MiB of 30 MiB");
  status.set_planned(false);
  EXPECT_EQ(ProgressLine(status, std::nullopt), "listing the input");
  status.set_state(proto::COMMITTING);
  EXPECT_EQ(ProgressLine(status, std::nullopt), "publishing the output");
  status.set_state(proto::QUEUED);
  status.set_waiting_for("no workers have joined");
  EXPECT_EQ(ProgressLine(status, std::nullopt),
            "queued  waiting for: no workers have joined");
}

TEST(ProgressTest, TheRateIsThatOfTheLastSeconds) {
  RateMeter rate;
  EXPECT_EQ(rate.BytesPerSecond(), std::nullopt);
  rate.Add(absl::Seconds(0), 0);
  rate.Add(absl::Milliseconds(100), 50);
  EXPECT_EQ(rate.BytesPerSecond(), std::nullopt);  // Too early to tell.
  rate.Add(absl::Seconds(1), 100);
  EXPECT_EQ(rate.BytesPerSecond(), 100);
  for (int s = 2; s <= 30; ++s) {
    rate.Add(absl::Seconds(s), 100 + 10 * static_cast<uint64_t>(s - 1));
  }
  EXPECT_NEAR(*rate.BytesPerSecond(), 10, 0.01);
  rate.Add(absl::Seconds(31), 5);  // Maps were lost.
  EXPECT_EQ(rate.BytesPerSecond(), std::nullopt);
}

class ProgressDisplayTest : public ::testing::Test {
 protected:
  ~ProgressDisplayTest() override { std::fclose(out_); }
  std::string Written() {
    std::fflush(out_);
    std::string text(static_cast<size_t>(std::ftell(out_)), '\0');
    std::rewind(out_);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), out_), text.size());
    return text;
  }
  std::FILE* const out_ = std::tmpfile();
  ManualClock clock_;
};

TEST_F(ProgressDisplayTest, PlainLinesComeWithChangesAndNotTooOften) {
  ProgressDisplay display(out_, false, "p", clock_);
  proto::JobStatus status;
  status.set_state(proto::QUEUED);
  display.Update(status);  // It may be over in a moment.
  status.set_waiting_for("workers");
  display.Update(status);  // Printed: that it waits is news.
  clock_.Advance(absl::Seconds(5));
  display.Update(status);  // Nothing has changed.
  status = Running();
  display.Update(status);  // Printed.
  status.mutable_maps()->set_done(6);
  display.Update(status);  // Too soon.
  clock_.Advance(absl::Seconds(1));
  status.mutable_maps()->set_done(8);
  display.Update(status);  // Printed.
  status.set_state(proto::SUCCEEDED);
  clock_.Advance(absl::Seconds(1));
  display.Update(status);  // The report will say so.
  const std::string text = Written();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_THAT(text, HasSubstr("p: queued  waiting for: workers\np: map 3/8"));
  EXPECT_THAT(text, HasSubstr("\np: map 8/8"));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
}

TEST_F(ProgressDisplayTest, ALiveLineIsRewrittenCutAndCleared) {
  proto::JobStatus status = Running();
  status.set_waiting_for(std::string(500, 'x'));
  {
    ProgressDisplay display(out_, true, "p", clock_);
    display.Update(status);
    clock_.Advance(absl::Milliseconds(100));
    display.Update(status);  // Too soon.
    clock_.Advance(absl::Milliseconds(100));
    display.Update(status);
  }
  const std::string text = Written();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 3) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_THAT(text, ::testing::EndsWith("\r\033[K"));
  EXPECT_LE(text.size(), 3 * 90u);  // A line of a terminal, twice.
}

// Maps, bytes, rate, time left, reduces, shuffle: all of it in 80 columns.
TEST_F(ProgressDisplayTest, ALiveLineHasRoomForAllThatMatters) {
  proto::JobStatus status = Running();
  status.mutable_attempts()->clear_failed();
  {
    ProgressDisplay display(out_, true, "millrace submit", clock_);
    status.set_input_bytes_done(0);
    display.Update(status);
    clock_.Advance(absl::Seconds(4));
    status.set_input_bytes_done(400 << 20);
    display.Update(status);
  }
  EXPECT_THAT(Written(),
              HasSubstr("\033[Kmap 3/8  400 MiB of 1.0 GiB  100 MiB/s  6 s "
                        "left  reduce 0/10  shuffle 10 MiB\r"));
}

// -------------------------------------------------------------------- suggest

TEST(SuggestTest, NearestNameOrNone) {
  const std::vector<std::string> names = {"status", "submit", "list",
                                          "kill",   "wait",   "logs"};
  EXPECT_EQ(NearestName("statsu", names), "status");
  EXPECT_EQ(NearestName("submti", names), "submit");
  EXPECT_EQ(NearestName("lst", names), "list");
  EXPECT_EQ(NearestName("kil", names), "kill");
  EXPECT_EQ(NearestName("frobnicate", names), "");
  EXPECT_EQ(NearestName("xy", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName(std::string(1000, 'x'), names), "");
}

}  // namespace
}  // namespace millrace::cli
