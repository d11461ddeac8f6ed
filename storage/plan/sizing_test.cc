#include "storage/plan/sizing.h"

#include <gtest/gtest.h>

namespace millrace::storage {
namespace {

constexpr uint64_t kMebibyte = 1 << 20;

TEST(SizingTest, SplitsAreAnEighthWithinBounds) {
  EXPECT_EQ(ChooseSplitBytes(0), 4 * kMebibyte);
  EXPECT_EQ(ChooseSplitBytes(32 * kMebibyte), 4 * kMebibyte);
  EXPECT_EQ(ChooseSplitBytes(512 * kMebibyte), 64 * kMebibyte);
  EXPECT_EQ(ChooseSplitBytes(1024 * kMebibyte), 128 * kMebibyte);
  EXPECT_EQ(ChooseSplitBytes(10240 * kMebibyte), 128 * kMebibyte);
}

TEST(SizingTest, ReducersFollowTheInput) {
  EXPECT_EQ(ChooseReducers(0), 1u);
  EXPECT_EQ(ChooseReducers(16 * kMebibyte), 1u);
  EXPECT_EQ(ChooseReducers(16 * kMebibyte + 1), 2u);
  EXPECT_EQ(ChooseReducers(1024 * kMebibyte), 8u);
  EXPECT_EQ(ChooseReducers(1024 * kMebibyte + 1), 9u);
  EXPECT_EQ(ChooseReducers(uint64_t{1} << 60), 1024u);
}

TEST(SizingTest, ReducersFollowTheMapOutputWhereItIsKnown) {
  const uint64_t input = 10240 * kMebibyte;
  EXPECT_EQ(ChooseReducers(input), 80u);
  EXPECT_EQ(ChooseReducersFor(input, 0), 8u);
  EXPECT_EQ(ChooseReducersFor(input, 1080 * kMebibyte), 8u);
  EXPECT_EQ(ChooseReducersFor(input, 1090 * kMebibyte), 9u);
  EXPECT_EQ(ChooseReducersFor(input, 10440 * kMebibyte), 82u);
  EXPECT_EQ(ChooseReducersFor(input, 40960 * kMebibyte), 320u);
  EXPECT_EQ(ChooseReducersFor(input, ~uint64_t{0}), 1024u);
  EXPECT_EQ(ChooseReducersFor(1024 * kMebibyte, 0), 8u);
  EXPECT_EQ(ChooseReducersFor(1024 * kMebibyte, 1044 * kMebibyte), 8u);
  EXPECT_EQ(ChooseReducersFor(258 * kMebibyte, 0), 3u);
  EXPECT_EQ(ChooseReducersFor(16 * kMebibyte, 0), 1u);
}

// What is chosen, and what is said of it, at the bounds.
TEST(SizingTest, ReasonsAreThoseOfTheChoice) {
  Sizing sizing = {.input_bytes = 512 * kMebibyte, .maps = 8, .reduces = 4};
  EXPECT_EQ(WhyMaps(sizing),
            "8 maps of 64 MiB: an eighth of the input (--split-bytes)");
  EXPECT_EQ(WhyReduces(sizing),
            "4 reduces: one per 128 MiB of input (--reducers)");
  sizing = {.input_bytes = 20 * kMebibyte, .maps = 5, .reduces = 2};
  EXPECT_EQ(WhyMaps(sizing),
            "5 maps of 4.0 MiB: as small as they get by themselves "
            "(--split-bytes)");
  EXPECT_EQ(WhyReduces(sizing),
            "2 reduces: enough input to share (--reducers)");
  sizing = {.input_bytes = 10240 * kMebibyte, .maps = 80, .reduces = 80};
  EXPECT_EQ(WhyMaps(sizing),
            "80 maps of 128 MiB: as large as they get by themselves "
            "(--split-bytes)");
  sizing = {.input_bytes = kMebibyte, .maps = 1, .reduces = 1};
  EXPECT_EQ(WhyReduces(sizing), "1 reduce: little input (--reducers)");
  sizing = {.maps = 3, .reduces = 1024};
  EXPECT_EQ(WhyMaps(sizing), "3 maps: one per million rows (--splits)");
  EXPECT_EQ(WhyReduces(sizing),
            "1024 reduces: as many as it gets by itself (--reducers)");
}

TEST(SizingTest, ASampleIsTheReasonWhereItDecided) {
  Sizing sizing = {.input_bytes = 1024 * kMebibyte,
                   .maps = 8,
                   .reduces = 8,
                   .map_output_estimate = 57 * kMebibyte};
  EXPECT_EQ(WhyReduces(sizing),
            "8 reduces: enough to share the work, 57 MiB of map output by a "
            "sample (--reducers)");
  sizing.reduces = 20;
  sizing.map_output_estimate = 2560 * kMebibyte;
  EXPECT_EQ(WhyReduces(sizing),
            "20 reduces: 2.5 GiB of map output by a sample, one per 128 MiB "
            "(--reducers)");
  sizing.reduces = 1024;
  sizing.map_output_estimate = uint64_t{1} << 60;
  EXPECT_EQ(WhyReduces(sizing),
            "1024 reduces: as many as it gets by itself (--reducers)");
}

TEST(SizingTest, WhatWasAskedForIsTheReason) {
  const Sizing sizing = {.input_bytes = 100 * kMebibyte,
                         .maps = 100,
                         .reduces = 3,
                         .split_bytes_asked = kMebibyte,
                         .reducers_asked = 3,
                         .reducers_of_job = 3};
  EXPECT_EQ(WhyMaps(sizing),
            "100 maps of 1.0 MiB: --split-bytes asks for 1.0 "
            "MiB");
  EXPECT_EQ(WhyReduces(sizing), "3 reduces: --reducers asks for it");
  EXPECT_EQ(WhyReduces({.reduces = 3, .reducers_of_job = 3}),
            "3 reduces: the program asks for it (--reducers)");
  EXPECT_EQ(WhyMaps({.maps = 2, .splits_asked = 2}),
            "2 maps: --splits asks for it");
}

TEST(SizingTest, NothingIsNoReason) {
  EXPECT_EQ(WhyMaps({}), "0 maps: there is no input");
  EXPECT_EQ(WhyReduces({.input_bytes = kMebibyte, .maps = 1}), "");
}

}  // namespace
}  // namespace millrace::storage
