#include <line_lengths.h>

int main(int argc, char** argv) {
  return millrace::Main(argc, argv, LineLengthsJob());
}
