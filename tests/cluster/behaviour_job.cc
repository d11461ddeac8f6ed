// A word count whose tasks leave traces and take their time: for tests of when
// and how often a cluster runs what. Program arguments: BEHAVIOUR DIR [MS].
// Every attempt appends a line "map|reduce <task> <attempt> <uid>" to DIR/log.
//
//   plain          nothing more
//   slow           each record takes MS milliseconds; as many times as long
//                  where BEHAVIOUR_SLOWNESS says so, which workers pass on
//   meet-maps      a map task waits until another one is running, too
//   meet-reduces   a reduce task does
//   late-reduce    reduce task 0 begins MS milliseconds late
//   die            attempts end or stall at random, in a third of the cases
#include <fcntl.h>
#include <millrace/millrace.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

using millrace::Context;

void Pause(int ms) { poll(nullptr, 0, ms); }

class Behaviour {
 public:
  void Setup(const Context& context) {
    name_ = context.arguments().at(0);
    directory_ = context.arguments().at(1);
    if (context.arguments().size() > 2) ms_ = std::stoi(context.arguments()[2]);
    const char* slowness = std::getenv("BEHAVIOUR_SLOWNESS");
    if (slowness != nullptr) ms_ *= std::stoi(slowness);
  }
  bool Is(const char* name) const { return name_ == name; }
  int ms() const { return ms_; }

  void Trace(const char* kind, const Context& context) const {
    const std::string line = std::string(kind) + " " +
                             std::to_string(context.task_index()) + " " +
                             std::to_string(context.attempt()) + " " +
                             std::string(context.attempt_uid()) + "\n";
    const std::string path = directory_ + "/log";
    const int fd =
        open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    // One write, so that lines do not mix.
    if (fd < 0 || write(fd, line.data(), line.size()) < 0) std::abort();
    close(fd);
  }

  // Until a second attempt of this kind is running; the task's timeout is what
  // ends it when none ever does.
  void Meet(const std::string& kind, Context& context) const {
    const std::string here =
        directory_ + "/" + kind + "." + std::string(context.attempt_uid());
    std::filesystem::create_directory(here);
    for (;;) {
      int others = 0;
      for (const auto& entry :
           std::filesystem::directory_iterator(directory_)) {
        if (entry.path().stem() == kind) ++others;
      }
      if (others >= 2) return;
      Pause(1);
    }
  }

  // By the attempt's uid, which is random: the next attempt has another fate.
  void MaybeDie(const Context& context) const {
    switch (std::stoi(std::string(context.attempt_uid().substr(0, 4)), nullptr,
                      16) %
            9) {
      case 0:
        _exit(0);
      case 1:
        _exit(1);
      case 2:
        for (;;) pause();
      default:
        return;
    }
  }

 private:
  std::string name_;
  std::string directory_;
  int ms_ = 0;
};

class Tokenize
    : public millrace::Mapper<millrace::TextLine, std::string, int64_t> {
 public:
  void Setup(Context& context) override {
    behaviour_.Setup(context);
    behaviour_.Trace("map", context);
    if (behaviour_.Is("meet-maps")) behaviour_.Meet("map", context);
    if (behaviour_.Is("die")) behaviour_.MaybeDie(context);
  }
  void Map(const millrace::TextLine& line, Output& out) override {
    if (behaviour_.Is("slow")) Pause(behaviour_.ms());
    for (std::string_view word : millrace::SplitWords(line.text)) {
      out.Emit(word, 1);
    }
  }

 private:
  Behaviour behaviour_;
};

class Total : public millrace::Reducer<std::string, int64_t> {
 public:
  void Setup(Context& context) override {
    behaviour_.Setup(context);
    behaviour_.Trace("reduce", context);
    if (behaviour_.Is("meet-reduces")) behaviour_.Meet("reduce", context);
    if (behaviour_.Is("late-reduce") && context.task_index() == 0) {
      Pause(behaviour_.ms());
    }
    if (behaviour_.Is("die")) behaviour_.MaybeDie(context);
  }
  void Reduce(KeyView word, Values& values, Output& out) override {
    int64_t total = 0;
    for (const int64_t count : values) total += count;
    out.Emit(word, total);
  }

 private:
  Behaviour behaviour_;
};

}  // namespace

int main(int argc, char** argv) {
  return millrace::Main(argc, argv,
                        millrace::Job("behaviour")
                            .Map<Tokenize>()
                            .Reduce<Total>()
                            .Arguments("BEHAVIOUR DIR [MS]"));
}
