// millrace why JOB[/TASK]: what it waits for.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/table.h"
#include "cli/why_format.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct WhyFlags {
  std::string subject;
  std::string format = "table";
};

ExitCode RunWhy(const Globals& globals, const WhyFlags& flags) {
  const std::optional<WhySubject> subject = ParseWhySubject(flags.subject);
  if (!subject.has_value()) {
    return Fail(kUsage, "why",
                Cat("\"", Printable(flags.subject), "\" names no task"),
                "write ID/m17 for map task 17, ID/r3 for reduce task 3, "
                "ID/plan, ID/check or ID/publish");
  }
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "why");
  const auto reply = (*cluster)->Why(
      subject->job, subject->task.has_value() ? &*subject->task : nullptr);
  if (!reply.ok()) return FailCluster(reply.status(), "why");
  return Print("why", flags.format == "json" ? FormatJson(WhyJson(*reply))
                                             : WhyText(*reply));
}

}  // namespace

void AddWhy(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "why", "Say what a job or one of its tasks waits for, and what that for");
  auto flags = std::make_shared<WhyFlags>();  // Shared with both callbacks.
  command
      ->add_option("ID", flags->subject,
                   "Job, by the first digits of its id; of one task: ID/m17, "
                   "ID/r3, ID/plan, ID/check, ID/publish")
      ->required();
  AddFormat(*command, flags->format, {"table", "json"});
  command->footer(
      "Each line is explained by those that are set deeper below it. The exit "
      "code is 0\nwhatever it waits for, also when it has ended.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunWhy(globals, *flags); };
  });
}

}  // namespace millrace::cli
