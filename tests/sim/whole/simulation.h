// One seed of a whole cluster: what happens, when, and what must hold.
#ifndef MILLRACE_TESTS_SIM_WHOLE_SIMULATION_H_
#define MILLRACE_TESTS_SIM_WHOLE_SIMULATION_H_

#include <cstddef>
#include <optional>
#include <string>

#include "tests/sim/whole/world.h"

namespace millrace::wholesim {

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  ~Simulation();

  SimResult Run();

 private:
  void Begin();
  // Somebody else makes the output path of the job.
  void MakeForeign(ClientJob& job);
  void EverySecond();
  bool Finished();

  // schedule.cc
  void Disturb();
  // An effect on something: what it met.
  bool Inject(Fault fault);
  bool InjectAt(Fault fault, Worker& worker, StepSet step);
  void Ambush(Worker& worker, StepSet step);
  bool InjectIntoWorker(Fault fault, Worker& worker);
  bool InjectIntoOutput(Fault fault, Worker& worker);
  bool InjectIntoMasters(Fault fault);
  bool ChangeInput(ClientJob& job);
  bool KillJob(ClientJob& job);
  // One that is in the middle of something, rather than any.
  Worker& AnyWorker();
  StepSet AllSteps() const;
  void Heal();

  // judge.cc: what only shows at the end.
  void JudgeEnd();
  void JudgeCauses();
  void JudgeLeftovers();

  World world_;
  bool finished_ = false;
  // Waits for somebody to come to a step.
  struct Trap {
    Fault fault;
    StepSet step;
  };
  std::optional<Trap> trap_;
};

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_SIMULATION_H_
