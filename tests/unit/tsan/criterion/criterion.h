/*
 * The part of Criterion's interface that the unit tests use, where Criterion itself will not do:
 * its sandbox maps memory at addresses which ThreadSanitizer reserves and aborts at start
 * (Criterion issue 274), and executes the program anew for each test, which takes a second on an
 * emulated processor. Same Test() syntax, same meaning: each test runs in a process of its own with
 * its time limit. See runner.c beside this folder.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct cr_test {
    const char *suite;
    const char *name;
    void (*run)(void);
    /* Test(suite, name, .timeout = 5, .init = f, ...): what Criterion calls extra data. */
    struct cr_test_extra {
        int sentinel;
        void (*init)(void);
        void (*fini)(void);
        int signal;
        int exit_code;
        bool disabled;
        const char *description;
        double timeout;
    } extra;
};

__attribute__((noreturn, format(printf, 4, 5))) void cr_shim_fail(const char *file, int line,
                                                                  const char *what,
                                                                  const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void cr_shim_skip(const char *format, ...);

#define Test(Suite, Name, ...)                                                                    \
    static void Suite##_##Name##_impl(void);                                                      \
    static const struct cr_test Suite##_##Name##_meta = {                                         \
        #Suite, #Name, Suite##_##Name##_impl, {.sentinel = 0, ##__VA_ARGS__}};                    \
    __attribute__((used,                                                                          \
                   section("cr_shim"))) static const struct cr_test *const Suite##_##Name##_ptr = \
        &Suite##_##Name##_meta;                                                                   \
    static void Suite##_##Name##_impl(void)

#define TestSuite(Suite, ...) _Static_assert(1, "suites have no options under ThreadSanitizer")

#define cr_shim_check(Cond, What, ...) \
    ((Cond) ? (void)0 : cr_shim_fail(__FILE__, __LINE__, What, " " __VA_ARGS__))

#define cr_assert(Cond, ...)     cr_shim_check((Cond), #Cond, __VA_ARGS__)
#define cr_assert_not(Cond, ...) cr_shim_check(!(Cond), "not " #Cond, __VA_ARGS__)
#define cr_assert_eq(A, B, ...)  cr_shim_check((A) == (B), #A " == " #B, __VA_ARGS__)
#define cr_assert_neq(A, B, ...) cr_shim_check((A) != (B), #A " != " #B, __VA_ARGS__)
#define cr_assert_lt(A, B, ...)  cr_shim_check((A) < (B), #A " < " #B, __VA_ARGS__)
#define cr_assert_leq(A, B, ...) cr_shim_check((A) <= (B), #A " <= " #B, __VA_ARGS__)
#define cr_assert_gt(A, B, ...)  cr_shim_check((A) > (B), #A " > " #B, __VA_ARGS__)
#define cr_assert_geq(A, B, ...) cr_shim_check((A) >= (B), #A " >= " #B, __VA_ARGS__)
#define cr_assert_float_eq(A, B, Epsilon, ...) \
    cr_shim_check((A) - (B) <= (Epsilon) && (B) - (A) <= (Epsilon), #A " is about " #B, __VA_ARGS__)
#define cr_assert_null(A, ...)       cr_shim_check((A) == NULL, #A " is null", __VA_ARGS__)
#define cr_assert_not_null(A, ...)   cr_shim_check((A) != NULL, #A " is not null", __VA_ARGS__)
#define cr_assert_str_eq(A, B, ...)  cr_shim_check(!strcmp((A), (B)), #A " equals " #B, __VA_ARGS__)
#define cr_assert_str_neq(A, B, ...) cr_shim_check(strcmp((A), (B)), #A " differs " #B, __VA_ARGS__)
#define cr_assert_arr_eq(A, B, N, ...) \
    cr_shim_check(!memcmp((A), (B), (N)), #A " equals " #B, __VA_ARGS__)
#define cr_assert_fail(...) cr_shim_check(0, "failed", __VA_ARGS__)
#define cr_fatal(...)       cr_shim_check(0, "failed", __VA_ARGS__)
#define cr_skip(...)        cr_shim_skip(" " __VA_ARGS__)
#define cr_skip_test(...)   cr_shim_skip(" " __VA_ARGS__)
#define cr_log_info(...)    ((void)0)
