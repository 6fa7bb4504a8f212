/* Put in front of the library's sources that the model check compiles: every atomic operation on
 * memory that actors share first hands over to the explorer, which decides who goes next. What is
 * checked is so the real code, one atomic operation a step, sequentially consistent: orders that
 * only weaker memory allows are not seen here (ThreadSanitizer looks for those). */
#ifndef FP_SCHEDULED_ATOMICS_H
#define FP_SCHEDULED_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>

typedef enum explorer_step {
    STEP_LOAD,
    STEP_STORE,
    STEP_ADD,
    STEP_EXCHANGE,
    STEP_SLEEP,
    STEP_WAKE,
    STEP_CALL,
    STEP_EVENT
} explorer_step;

/* Called before an operation: nothing where the memory is not shared. */
void explorer_before(const volatile void *word, explorer_step step);
/* Called after one that wrote. */
void explorer_after(const volatile void *word);

#define SCHEDULED_VALUE(at) __typeof__((void)0, *(at))

#define SCHEDULED_LOAD(object)                                                                     \
    __extension__({                                                                                \
        __auto_type at_ = (object);                                                                \
        explorer_before(at_, STEP_LOAD);                                                           \
        SCHEDULED_VALUE(at_) value_ = *at_;                                                        \
        value_;                                                                                    \
    })
#define SCHEDULED_STORE(object, desired)                                                           \
    __extension__({                                                                                \
        __auto_type at_ = (object);                                                                \
        SCHEDULED_VALUE(at_) desired_ = (SCHEDULED_VALUE(at_))(desired);                           \
        explorer_before(at_, STEP_STORE);                                                          \
        *at_ = desired_;                                                                           \
        explorer_after(at_);                                                                       \
    })
/* Gives what was there before. */
#define SCHEDULED_CHANGE(object, operator_, operand)                                               \
    __extension__({                                                                                \
        __auto_type at_ = (object);                                                                \
        SCHEDULED_VALUE(at_) operand_ = (SCHEDULED_VALUE(at_))(operand);                           \
        explorer_before(at_, STEP_ADD);                                                            \
        SCHEDULED_VALUE(at_) old_ = *at_;                                                          \
        *at_ = (SCHEDULED_VALUE(at_))(old_ operator_ operand_);                                    \
        explorer_after(at_);                                                                       \
        old_;                                                                                      \
    })
#define SCHEDULED_EXCHANGE(object, expected, desired)                                              \
    __extension__({                                                                                \
        __auto_type at_ = (object);                                                                \
        __auto_type expected_ = (expected);                                                        \
        SCHEDULED_VALUE(at_) desired_ = (desired);                                                 \
        explorer_before(at_, STEP_EXCHANGE);                                                       \
        SCHEDULED_VALUE(at_) old_ = *at_;                                                          \
        bool is_same_ = old_ == *expected_;                                                        \
        if (is_same_)                                                                              \
            *at_ = desired_;                                                                       \
        *expected_ = old_;                                                                         \
        explorer_after(at_);                                                                       \
        is_same_;                                                                                  \
    })

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and
#undef atomic_compare_exchange_weak
#define atomic_load(object)                               SCHEDULED_LOAD(object)
#define atomic_load_explicit(object, order)               SCHEDULED_LOAD(object)
#define atomic_store(object, desired)                     SCHEDULED_STORE(object, desired)
#define atomic_store_explicit(object, desired, order)     SCHEDULED_STORE(object, desired)
#define atomic_fetch_add(object, operand)                 SCHEDULED_CHANGE(object, +, operand)
#define atomic_fetch_add_explicit(object, operand, order) SCHEDULED_CHANGE(object, +, operand)
#define atomic_fetch_sub(object, operand)                 SCHEDULED_CHANGE(object, -, operand)
#define atomic_fetch_or(object, operand)                  SCHEDULED_CHANGE(object, |, operand)
#define atomic_fetch_and(object, operand)                 SCHEDULED_CHANGE(object, &, operand)
#define atomic_compare_exchange_weak(object, expected, desired)                                    \
    SCHEDULED_EXCHANGE(object, expected, desired)

#endif
