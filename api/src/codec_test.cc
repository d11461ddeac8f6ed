#include "millrace/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "millrace/internal/combine_batch.h"
#include "proto/messages/task.pb.h"

namespace millrace {
namespace {

enum class Color : int16_t { kRed = -3, kGreen = 0, kBlue = 700 };

// A user's key of fixed length, with the optional half of the contract.
struct Version {
  uint16_t major = 0;
  uint16_t minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

// And one of variable length, with the two functions alone.
struct Name {
  std::string text;
  friend auto operator<=>(const Name&, const Name&) = default;
};

}  // namespace

template <>
struct KeyCodec<Version> {
  static constexpr size_t kFixedBytes = 4;
  static void EncodeFixed(const Version& v, char* bytes) {
    KeyCodec<uint16_t>::EncodeFixed(v.major, bytes);
    KeyCodec<uint16_t>::EncodeFixed(v.minor, bytes + 2);
  }
  static bool Decode(std::string_view bytes, Version* v) {
    return bytes.size() == 4 && DecodeKey(bytes.substr(0, 2), &v->major) &&
           DecodeKey(bytes.substr(2), &v->minor);
  }
};

template <>
struct KeyCodec<Name> {
  static void Encode(const Name& name, std::string* bytes) {
    bytes->append(name.text);
  }
  static bool Decode(std::string_view bytes, Name* name) {
    name->text = bytes;
    return true;
  }
};

template <>
struct ValueCodec<Name> {
  static void Encode(const Name& name, std::string* bytes) {
    bytes->append(name.text);
  }
  static bool Decode(std::string_view bytes, Name* name) {
    name->text = bytes;
    return true;
  }
};

namespace {

// ----------------------------------------------------------------- generators

// Small alphabets and edge values, so that equal parts, prefixes and zeros are
// frequent.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  uint64_t Bits() { return random_(); }

  template <typename T>
  requires(std::is_integral_v<T>) void Make(T* value) {
    if constexpr (std::is_same_v<T, bool>) {
      *value = Bits() % 2 != 0;
      return;
    } else {
      switch (Bits() % 4) {
        case 0:
          *value = static_cast<T>(Bits());
          return;
        case 1:
          *value = std::numeric_limits<T>::min();
          return;
        case 2:
          *value = std::numeric_limits<T>::max();
          return;
        default:
          *value = static_cast<T>(static_cast<T>(Bits() % 7) - T{3});
      }
    }
  }
  template <typename T>
  requires(std::is_floating_point_v<T>) void Make(T* value) {
    using Limits = std::numeric_limits<T>;
    const T edges[] = {T{0},
                       -T{0},
                       Limits::min(),
                       Limits::denorm_min(),
                       -Limits::denorm_min(),
                       Limits::max(),
                       Limits::lowest(),
                       Limits::infinity(),
                       -Limits::infinity(),
                       T{1}};
    if (Bits() % 2 == 0) {
      *value = edges[Bits() % std::size(edges)];
      return;
    }
    do {
      const uint64_t bits = Bits();
      std::memcpy(value, &bits, sizeof *value);
    } while (std::isnan(*value));
  }
  void Make(Color* value) {
    const Color colors[] = {Color::kRed, Color::kGreen, Color::kBlue};
    *value = colors[Bits() % 3];
  }
  void Make(std::string* value) {
    value->assign(Bits() % 5, '\0');
    for (char& c : *value)
      c = "\0\x01\xff\xfe"
          "a"[Bits() % 5];
  }
  void Make(NoValue*) {}
  void Make(Version* v) {
    Make(&v->major);
    Make(&v->minor);
  }
  void Make(Name* name) { Make(&name->text); }
  template <typename T>
  void Make(Descending<T>* value) {
    Make(&value->value);
  }
  template <typename G, typename O>
  void Make(Grouped<G, O>* value) {
    Make(&value->group);
    Make(&value->order);
  }
  template <typename A, typename B>
  void Make(std::pair<A, B>* value) {
    Make(&value->first);
    Make(&value->second);
  }
  template <typename... Ts>
  void Make(std::tuple<Ts...>* value) {
    std::apply([&](auto&... parts) { (Make(&parts), ...); }, *value);
  }
  template <typename T>
  void Make(std::vector<T>* value) {
    value->clear();
    for (uint64_t size = Bits() % 4; size > 0; --size) {
      T element{};
      Make(&element);
      value->push_back(element);
    }
  }
  template <typename T>
  void Make(std::optional<T>* value) {
    value->reset();
    if (Bits() % 2 == 0) Make(&value->emplace());
  }

 private:
  std::mt19937_64 random_;
};

int Sign(std::partial_ordering order) {
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}
int Sign(int order) { return order < 0 ? -1 : order > 0 ? 1 : 0; }

// ------------------------------------------------------------------------ keys

template <typename T>
class KeyCodecTest : public ::testing::Test {};

using KeyTypes = ::testing::Types<
    bool, char, int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t,
    uint64_t, long long, float, double, Color, std::string, NoValue, Version,
    Name, Descending<int32_t>, Descending<double>, Descending<std::string>,
    Descending<Name>, std::pair<std::string, int32_t>,
    std::pair<int32_t, uint64_t>, std::tuple<>, std::tuple<std::string>,
    std::tuple<std::string, std::string, std::string>,
    std::tuple<Name, Version, double>,
    std::tuple<Descending<std::string>, std::string>,
    std::tuple<std::pair<std::string, std::string>, Color>,
    Descending<std::pair<std::string, Descending<std::string>>>,
    Descending<Descending<std::string>>, Grouped<std::string, int64_t>,
    Grouped<int32_t, Descending<std::string>>,
    Grouped<std::pair<std::string, bool>, std::string>,
    Grouped<Descending<std::tuple<std::string, Name>>, std::string>>;
TYPED_TEST_SUITE(KeyCodecTest, KeyTypes);

// With every type 10,000 pairs: reading back, and memcmp against operator<=>.
TYPED_TEST(KeyCodecTest, BytesCompareAsValuesDo) {
  const uint64_t seed = 77;
  SCOPED_TRACE(seed);
  Generator generator(seed);
  for (int i = 0; i < 10000; ++i) {
    TypeParam a{}, b{};
    generator.Make(&a);
    generator.Make(&b);
    const std::string a_bytes = EncodeKey<TypeParam>(a);
    const std::string b_bytes = EncodeKey<TypeParam>(b);

    TypeParam back{};
    ASSERT_TRUE(DecodeKey(a_bytes, &back)) << "case " << i;
    ASSERT_TRUE(back == a) << "case " << i;
    ASSERT_EQ(Sign(a_bytes.compare(b_bytes)),
              Sign(std::partial_ordering(a <=> b)))
        << "case " << i;
  }
}

// What is a part of a larger key can be no prefix of another.
TYPED_TEST(KeyCodecTest, PartsTellTheirOwnLength) {
  const uint64_t seed = 78;
  SCOPED_TRACE(seed);
  Generator generator(seed);
  for (int i = 0; i < 2000; ++i) {
    TypeParam value{};
    std::string tail;
    generator.Make(&value);
    generator.Make(&tail);
    std::string bytes;
    internal::AppendKeyPart<TypeParam>(value, &bytes);
    const size_t length = bytes.size();
    bytes += tail;
    ASSERT_EQ(internal::KeyPartLength<TypeParam>(bytes, 0), length);
    std::string_view rest = bytes;
    TypeParam back{};
    ASSERT_TRUE(internal::TakeKeyPart<TypeParam>(&rest, &back));
    ASSERT_TRUE(back == value);
    ASSERT_EQ(rest, tail);
  }
}

// Arbitrary bytes are either refused or the encoding of something; reading
// never leaves them (the sanitizers watch).
TYPED_TEST(KeyCodecTest, SurvivesArbitraryBytes) {
  const uint64_t seed = 79;
  SCOPED_TRACE(seed);
  Generator generator(seed);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes;
    if (generator.Bits() % 2 == 0) {
      TypeParam value{};
      generator.Make(&value);
      bytes = EncodeKey<TypeParam>(value);
      if (!bytes.empty()) {
        const uint64_t at = generator.Bits() % bytes.size();
        if (generator.Bits() % 2 == 0) {
          bytes.resize(at);
        } else {
          bytes[at] = static_cast<char>(generator.Bits());
        }
      }
    } else {
      bytes.resize(generator.Bits() % 12);
      for (char& c : bytes) c = static_cast<char>(generator.Bits());
    }
    // An exact heap block, so that reading past the end is seen.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    const std::string_view view(exact.data(), exact.size());
    TypeParam value{};
    if (DecodeKey(view, &value)) {
      const std::string again = EncodeKey<TypeParam>(value);
      TypeParam back{};
      ASSERT_TRUE(DecodeKey(again, &back)) << "case " << i;
      ASSERT_EQ(EncodeKey<TypeParam>(back), again) << "case " << i;
    }
  }
}

// The bytes themselves are a promise: they stand in files and partition keys.
TEST(KeyCodecBytesTest, AreAsDocumented) {
  using std::string;
  EXPECT_EQ(EncodeKey<string>("abc"), "abc");
  EXPECT_EQ(EncodeKey<int32_t>(1), string("\x80\0\0\x01", 4));
  EXPECT_EQ(EncodeKey<int32_t>(-1), "\x7f\xff\xff\xff");
  EXPECT_EQ(EncodeKey<uint16_t>(258), "\x01\x02");
  EXPECT_EQ(EncodeKey<bool>(true), "\x01");
  EXPECT_EQ(EncodeKey<double>(1.0), string("\xbf\xf0\0\0\0\0\0\0", 8));
  EXPECT_EQ(EncodeKey<double>(-1.0), "\x40\x0f\xff\xff\xff\xff\xff\xff");
  EXPECT_EQ((EncodeKey<std::pair<string, uint8_t>>({string("a\0b", 3), 7})),
            string("a\0\xff"
                   "b\0\x01\x07",
                   7));
  EXPECT_EQ(EncodeKey<Descending<uint16_t>>(258), "\xfe\xfd");
  EXPECT_EQ(EncodeKey<Descending<string>>("a"), "\x9e\xff\xfe");
  EXPECT_EQ((EncodeKey<Grouped<string, uint8_t>>({"g", 1})),
            string("g\0\x01\x01", 4));
}

TEST(KeyCodecBytesTest, FoldsZerosAndNans) {
  EXPECT_EQ(EncodeKey<double>(-0.0), EncodeKey<double>(0.0));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(EncodeKey<double>(-nan), EncodeKey<double>(nan));
  EXPECT_GT(EncodeKey<double>(nan),
            EncodeKey<double>(std::numeric_limits<double>::infinity()));
  double back = 0;
  ASSERT_TRUE(DecodeKey(EncodeKey<double>(nan), &back));
  EXPECT_TRUE(std::isnan(back));
}

TEST(KeyCodecBytesTest, GroupIsThePrefixThatPartitionersSee) {
  using Key = Grouped<std::string, Descending<int32_t>>;
  const std::string bytes = EncodeKey<Key>({"word", 5});
  const size_t length = KeyCodec<Key>::GroupLength(bytes);
  EXPECT_EQ(bytes.substr(0, length), std::string("word\0\x01", 6));
  std::string group;
  ASSERT_TRUE(KeyCodec<Key>::DecodeGroup(bytes.substr(0, length), &group));
  EXPECT_EQ(group, "word");
  EXPECT_FALSE(KeyCodec<Key>::DecodeGroup(bytes, &group));
  // No crash on what is no key: all of it is the group.
  EXPECT_EQ(KeyCodec<Key>::GroupLength("word"), 4u);
}

// ---------------------------------------------------------------------- values

template <typename T>
class ValueCodecTest : public ::testing::Test {};

using ValueTypes = ::testing::Types<
    bool, char, int8_t, int16_t, uint32_t, int64_t, float, double, Color,
    std::string, NoValue, Name, std::pair<int32_t, float>,
    std::pair<std::string, std::string>, std::tuple<>,
    std::tuple<Name, int8_t, std::vector<std::string>>, std::vector<int64_t>,
    std::vector<bool>, std::vector<NoValue>, std::vector<std::vector<Name>>,
    std::optional<double>, std::optional<std::string>,
    std::vector<std::optional<std::pair<std::string, bool>>>>;
TYPED_TEST_SUITE(ValueCodecTest, ValueTypes);

TYPED_TEST(ValueCodecTest, ReadsBackWhatItWrote) {
  const uint64_t seed = 80;
  SCOPED_TRACE(seed);
  Generator generator(seed);
  for (int i = 0; i < 10000; ++i) {
    TypeParam value{};
    generator.Make(&value);
    const std::string bytes = EncodeValue<TypeParam>(value);
    // Into an object that holds something already.
    TypeParam back{};
    generator.Make(&back);
    ASSERT_TRUE(DecodeValue(bytes, &back)) << "case " << i;
    ASSERT_TRUE(back == value) << "case " << i;
  }
}

TYPED_TEST(ValueCodecTest, SurvivesArbitraryBytes) {
  const uint64_t seed = 81;
  SCOPED_TRACE(seed);
  Generator generator(seed);
  for (int i = 0; i < 5000; ++i) {
    TypeParam value{};
    generator.Make(&value);
    std::string bytes = EncodeValue<TypeParam>(value);
    if (generator.Bits() % 2 == 0) bytes.resize(bytes.size() * 2 / 3);
    for (char& c : bytes) {
      if (generator.Bits() % 8 == 0) c = static_cast<char>(generator.Bits());
    }
    const std::vector<char> exact(bytes.begin(), bytes.end());
    TypeParam back{};
    // Any answer will do; what it must not is read outside or allocate what
    // the bytes merely claim.
    static_cast<void>(
        DecodeValue(std::string_view(exact.data(), exact.size()), &back));
  }
}

TEST(ValueCodecBytesTest, AreAsDocumented) {
  EXPECT_EQ(EncodeValue<int64_t>(258), std::string("\x02\x01\0\0\0\0\0\0", 8));
  EXPECT_EQ(EncodeValue<std::string>("abc"), "abc");
  EXPECT_EQ((EncodeValue<std::pair<std::string, uint8_t>>({"ab", 3})),
            "\x02"
            "ab\x03");
  EXPECT_EQ((EncodeValue<std::vector<std::string>>({"a", ""})),
            std::string("\x02\x01"
                        "a\0",
                        4));
  EXPECT_EQ(EncodeValue<std::optional<uint8_t>>(std::nullopt),
            std::string("\0", 1));
  EXPECT_EQ(EncodeValue<std::string>(std::string(200, 'x')).size(), 200u);
  EXPECT_EQ(
      EncodeValue<std::tuple<std::string>>({std::string(200, 'x')}).size(),
      202u);
}

TEST(ValueCodecBytesTest, RefusesClaimsBeyondTheBytes) {
  std::vector<int64_t> numbers;
  // A count of 2^63, then nothing.
  EXPECT_FALSE(DecodeValue(
      std::string_view("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), &numbers));
  // A varint that does not end, and one of more than 64 bits.
  EXPECT_FALSE(DecodeValue(std::string_view("\xff\xff"), &numbers));
  EXPECT_FALSE(DecodeValue(
      std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), &numbers));
  std::vector<NoValue> nothing;
  EXPECT_FALSE(DecodeValue(
      std::string_view("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), &nothing));
  bool flag = false;
  EXPECT_FALSE(DecodeValue(std::string_view("\x02"), &flag));
  std::optional<std::string> text;
  EXPECT_FALSE(DecodeValue(std::string_view("\x02"
                                            "a"),
                           &text));
  EXPECT_FALSE(DecodeValue(std::string_view(), &text));
}

TEST(ValueCodecBytesTest, TakesProtobufMessages) {
  proto::SideFile file;
  file.set_name("words");
  file.set_path("/tmp/words");
  const std::string bytes = EncodeValue<proto::SideFile>(file);
  EXPECT_EQ(bytes, file.SerializeAsString());
  proto::SideFile back;
  ASSERT_TRUE(DecodeValue(bytes, &back));
  EXPECT_EQ(back.path(), "/tmp/words");
  EXPECT_FALSE(DecodeValue(std::string_view("\x0a\x7f"), &back));
}

// ---------------------------------------------------------------- what counts

TEST(CodecTraitsTest, EightByteValuesLiveInTheTable) {
  EXPECT_TRUE(internal::IsInline8<int64_t>());
  EXPECT_TRUE(internal::IsInline8<double>());
  EXPECT_TRUE((internal::IsInline8<std::pair<int32_t, float>>()));
  EXPECT_FALSE(internal::IsInline8<int32_t>());
  EXPECT_FALSE(internal::IsInline8<std::string>());
}

TEST(CodecTraitsTest, TypesWithoutCodecAreKnown) {
  struct Opaque {};
  EXPECT_FALSE(HasKeyCodec<Opaque>);
  EXPECT_FALSE(HasValueCodec<Opaque>);
  EXPECT_FALSE((HasKeyCodec<std::tuple<int, Opaque>>));
  EXPECT_FALSE((HasValueCodec<std::vector<Opaque>>));
  // A codec for values is none for keys: its bytes need not be in order.
  EXPECT_FALSE(HasKeyCodec<std::vector<int>>);
  EXPECT_FALSE(HasKeyCodec<long double>);
}

}  // namespace
}  // namespace millrace
