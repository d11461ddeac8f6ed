// A value that is shared until somebody changes it: copying a Cow copies a
// pointer, and the first change after that copies the value, if by then the
// other copies are still there.
//
// Thread-compatible, and more: copies of one Cow may be read, changed, copied
// and destroyed by different threads at the same time. Who finds that it holds
// the only copy changes the value in place; the count of the copies is read
// with acquire and given up with release, so whatever another thread has read
// of the value happened before that change.
#ifndef MILLRACE_MASTER_STATE_COW_H_
#define MILLRACE_MASTER_STATE_COW_H_

#include <atomic>
#include <cstddef>
#include <utility>

namespace millrace::master {

template <typename T>
class Cow {
 public:
  Cow() = default;  // T(), without memory of its own.
  explicit Cow(T value) : node_(new Node(std::move(value))) {}
  Cow(const Cow& other) : node_(other.node_) {
    if (node_ != nullptr) node_->copies.fetch_add(1, std::memory_order_relaxed);
  }
  Cow(Cow&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Cow& operator=(Cow other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Cow() {
    if (node_ != nullptr &&
        node_->copies.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete node_;
    }
  }

  const T& operator*() const {
    return node_ != nullptr ? node_->value : Default();
  }
  const T* operator->() const { return &**this; }

  // Was never changed: equals T().
  bool untouched() const { return node_ == nullptr; }

  // The value, for this copy alone. Good until the next copy is made of it;
  // references from before that are not.
  T& Mutable() {
    if (node_ == nullptr) {
      node_ = new Node();
    } else if (node_->copies.load(std::memory_order_acquire) != 1) {
      *this = Cow(node_->value);
    }
    return node_->value;
  }

 private:
  struct Node {
    Node() = default;
    explicit Node(T from) : value(std::move(from)) {}
    std::atomic<size_t> copies{1};
    T value{};
  };

  static const T& Default() {
    static const T* const value = new T();  // Outlives whoever ends last.
    return *value;
  }

  Node* node_ = nullptr;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_COW_H_
