#include "legacy/rtc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "legacy/alarm.h"

/* MC146818A data sheet, "Address map" and "Registers". */
enum {
    REG_SECONDS = 0x00,
    REG_SECONDS_ALARM = 0x01,
    REG_MINUTES = 0x02,
    REG_MINUTES_ALARM = 0x03,
    REG_HOURS = 0x04,
    REG_HOURS_ALARM = 0x05,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    REG_COUNT = 128,

    A_UPDATING = 0x80,
    A_DIVIDER_MASK = 0x70,
    A_DIVIDER_RESET = 0x60, /* and 0x70 */
    A_DIVIDER_32768_HZ = 0x20,
    A_RATE_MASK = 0x0f,
    A_RATE_1024_HZ = 0x06,

    B_SET = 0x80,
    B_24_HOURS = 0x02,
    B_BINARY = 0x04,
    B_SQUARE_WAVE = 0x08,

    /* The same bits enable (B) and report (C). */
    EVENT_PERIODIC = 0x40,
    EVENT_ALARM = 0x20,
    EVENT_UPDATE = 0x10,
    EVENT_MASK = EVENT_PERIODIC | EVENT_ALARM | EVENT_UPDATE,
    C_INTERRUPT = 0x80,

    D_VALID = 0x80,

    HOURS_PM = 0x80,
    ALARM_ANY = 0xc0, /* this and above matches everything */

    /* What a PC's firmware leaves in the memory. */
    CMOS_BASE_KIB = 0x15,
    CMOS_EXTENDED_KIB = 0x17,
    CMOS_EXTENDED_KIB_COPY = 0x30,
    CMOS_ABOVE_16M_64KIB = 0x34,
    CMOS_ABOVE_4G_64KIB = 0x5b, /* 3 bytes */

    CRYSTAL_HZ = 32768,
    MINUTE_S = 60,
    HOUR_S = 60 * MINUTE_S,
    DAY_S = 24 * HOUR_S,
};
/* How long before the end of a second the chip says that it is updating: t_BUC + t_UC. */
#define UPDATING_NS 2228000ULL

struct rtc {
    struct bus_range range;
    struct bus *bus;
    struct irq_line irq;
    uint64_t (*now_ns)(void *arg);
    void *now_arg;
    struct alarm alarm;

    uint8_t index;
    /* Times are those of the moment when the clock was stopped, or last looked at. */
    uint8_t cmos[REG_COUNT];
    int64_t offset_s;    /* of the guest's time to the host's */
    uint64_t checked_ns; /* host time up to which events are in register C */
    bool irq_level;
};

static uint64_t host_now_ns(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- time of day ---- */

static bool is_running(const struct rtc *rtc)
{
    return !(rtc->cmos[REG_B] & B_SET) && (rtc->cmos[REG_A] & A_DIVIDER_RESET) != A_DIVIDER_RESET;
}

static int64_t guest_s(const struct rtc *rtc, uint64_t host_ns)
{
    return (int64_t)(host_ns / NS_PER_S) + rtc->offset_s;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
    return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hours(const struct rtc *rtc, int hours)
{
    if (rtc->cmos[REG_B] & B_24_HOURS)
        return encode(rtc, hours);
    return encode(rtc, (hours + 11) % 12 + 1) | (hours >= 12 ? HOURS_PM : 0);
}

static int decode_hours(const struct rtc *rtc, uint8_t value)
{
    if (rtc->cmos[REG_B] & B_24_HOURS)
        return decode(rtc, value);
    return decode(rtc, value & (uint8_t)~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* Fills the time registers from the host's clock. */
static void time_load(struct rtc *rtc, uint64_t host_ns)
{
    time_t seconds = guest_s(rtc, host_ns);
    struct tm tm;
    int year;

    /* Fails beyond the year 2^31, where no guest's setting of eight registers leads; but a month
     * or day 0 of the year 0 leads before it. */
    CHECK(gmtime_r(&seconds, &tm));
    year = (tm.tm_year + 1900 + 10000) % 10000;
    rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
    rtc->cmos[REG_HOURS] = encode_hours(rtc, tm.tm_hour);
    rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
    rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
    rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
    rtc->cmos[RTC_CENTURY_INDEX] = encode(rtc, year / 100);
}

/* Makes the time registers the guest's time from now on. */
static void time_store(struct rtc *rtc, uint64_t host_ns)
{
    struct tm tm = {
        .tm_sec = decode(rtc, rtc->cmos[REG_SECONDS]),
        .tm_min = decode(rtc, rtc->cmos[REG_MINUTES]),
        .tm_hour = decode_hours(rtc, rtc->cmos[REG_HOURS]),
        .tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
        .tm_mon = decode(rtc, rtc->cmos[REG_MONTH]) - 1,
        .tm_year = decode(rtc, rtc->cmos[RTC_CENTURY_INDEX]) * 100 +
                   decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
    };

    /* What is out of range carries over into the next field. */
    rtc->offset_s = timegm(&tm) - (int64_t)(host_ns / NS_PER_S);
}

/* ---- events ---- */

static bool alarm_field(const struct rtc *rtc, uint8_t reg, int max, int *value)
{
    uint8_t raw = rtc->cmos[reg];

    *value = -1;
    if (raw >= ALARM_ANY)
        return true;
    *value = reg == REG_HOURS_ALARM ? decode_hours(rtc, raw) : decode(rtc, raw);
    return *value <= max;
}

/* The first guest time after `after_s` that matches the alarm; INT64_MAX when none ever does. */
static int64_t alarm_next_s(const struct rtc *rtc, int64_t after_s)
{
    int64_t at = after_s + 1, end = at + DAY_S;
    int hour, minute, second;

    if (!alarm_field(rtc, REG_HOURS_ALARM, 23, &hour) ||
        !alarm_field(rtc, REG_MINUTES_ALARM, 59, &minute) ||
        !alarm_field(rtc, REG_SECONDS_ALARM, 59, &second))
        return INT64_MAX;
    /* At most 24 + 60 + 60 steps, and as many again after a carry. */
    while (at <= end) {
        int64_t of_day = ((at % DAY_S) + DAY_S) % DAY_S;

        if (hour >= 0 && of_day / HOUR_S != hour)
            at += HOUR_S - of_day % HOUR_S;
        else if (minute >= 0 && of_day / MINUTE_S % 60 != minute)
            at += MINUTE_S - of_day % MINUTE_S;
        else if (second >= 0 && of_day % MINUTE_S != second)
            at++;
        else
            return at;
    }
    return INT64_MAX;
}

/* Crystal cycles per periodic event; 0: none. */
static uint32_t period_cycles(const struct rtc *rtc)
{
    uint8_t rate = rtc->cmos[REG_A] & A_RATE_MASK;

    if (!rate || (rtc->cmos[REG_A] & A_DIVIDER_MASK) != A_DIVIDER_32768_HZ)
        return 0;
    if (rate <= 2)
        rate += 7;
    return 1U << (rate - 1);
}

static uint64_t cycles_of(uint64_t host_ns)
{
    return host_ns / NS_PER_S * CRYSTAL_HZ + host_ns % NS_PER_S * CRYSTAL_HZ / NS_PER_S;
}

/* The earliest time with that many cycles. */
static uint64_t time_of_cycles_ns(uint64_t cycles)
{
    return cycles / CRYSTAL_HZ * NS_PER_S +
           (cycles % CRYSTAL_HZ * NS_PER_S + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

/* When `event` happens next after `host_ns`, in host time; UINT64_MAX: never. */
static uint64_t event_next_ns(const struct rtc *rtc, uint8_t event, uint64_t host_ns)
{
    uint32_t period = period_cycles(rtc);
    int64_t at;

    if (event == EVENT_PERIODIC)
        return period ? time_of_cycles_ns((cycles_of(host_ns) / period + 1) * period) : UINT64_MAX;
    if (!is_running(rtc))
        return UINT64_MAX;
    if (event == EVENT_UPDATE)
        return (host_ns / NS_PER_S + 1) * NS_PER_S;
    at = alarm_next_s(rtc, guest_s(rtc, host_ns));
    return at == INT64_MAX ? UINT64_MAX : (uint64_t)(at - rtc->offset_s) * NS_PER_S;
}

static const uint8_t events[] = {EVENT_PERIODIC, EVENT_ALARM, EVENT_UPDATE};

/* What has happened since the last look goes into register C. */
static void events_collect(struct rtc *rtc, uint64_t host_ns)
{
    for (size_t i = 0; i < array_count(events); i++)
        if (!(rtc->cmos[REG_C] & events[i]) &&
            event_next_ns(rtc, events[i], rtc->checked_ns) <= host_ns)
            rtc->cmos[REG_C] |= events[i];
    rtc->checked_ns = host_ns;
}

/* Drives the line, and sets the alarm for the next event that will. */
static void events_announce(struct rtc *rtc, uint64_t host_ns)
{
    uint8_t enabled = rtc->cmos[REG_B] & EVENT_MASK;
    bool level = rtc->cmos[REG_C] & enabled;
    uint64_t next_ns = UINT64_MAX;

    rtc->cmos[REG_C] = (rtc->cmos[REG_C] & EVENT_MASK) | (level ? C_INTERRUPT : 0);
    if (level != rtc->irq_level)
        irq_line_set(&rtc->irq, level);
    rtc->irq_level = level;
    for (size_t i = 0; !level && i < array_count(events); i++)
        if (enabled & events[i])
            next_ns = u64_min(next_ns, event_next_ns(rtc, events[i], host_ns));
    if (next_ns == UINT64_MAX)
        alarm_clear(&rtc->alarm);
    else
        alarm_set(&rtc->alarm, clock_now_ns() + (next_ns - host_ns));
}

static void alarm_ring(struct alarm *alarm)
{
    struct rtc *rtc = container_of(alarm, struct rtc, alarm);
    uint64_t host_ns = rtc->now_ns(rtc->now_arg);

    events_collect(rtc, host_ns);
    events_announce(rtc, host_ns);
}

/* ---- registers ---- */

static bool is_time(uint8_t index)
{
    return (index <= REG_YEAR && index != REG_SECONDS_ALARM && index != REG_MINUTES_ALARM &&
            index != REG_HOURS_ALARM) ||
           index == RTC_CENTURY_INDEX;
}

static uint8_t register_read(struct rtc *rtc, uint64_t host_ns)
{
    uint8_t value;

    if (is_time(rtc->index) && is_running(rtc))
        time_load(rtc, host_ns);
    value = rtc->cmos[rtc->index];
    if (rtc->index == REG_A && is_running(rtc) && host_ns % NS_PER_S >= NS_PER_S - UPDATING_NS)
        value |= A_UPDATING;
    if (rtc->index == REG_C)
        rtc->cmos[REG_C] = 0;
    return value;
}

static void register_write(struct rtc *rtc, uint8_t value, uint64_t host_ns)
{
    bool was_running = is_running(rtc);

    if (rtc->index == REG_C || rtc->index == REG_D)
        return;
    if (rtc->index == REG_A)
        value &= (uint8_t)~A_UPDATING;
    if (was_running)
        time_load(rtc, host_ns);
    rtc->cmos[rtc->index] = value;
    /* The chip goes on from the registers as they are. A format that changes under a running clock
     * is just the way in which it is shown. */
    if (is_running(rtc) && (!was_running || is_time(rtc->index)))
        time_store(rtc, host_ns);
    /* Setting the clock disables the update interrupt. */
    if (rtc->cmos[REG_B] & B_SET)
        rtc->cmos[REG_B] &= (uint8_t)~EVENT_UPDATE;
}

static enum bus_verdict rtc_access(struct bus_range *range, struct bus_access *access)
{
    struct rtc *rtc = container_of(range, struct rtc, range);
    uint64_t host_ns;

    if (!access->offset) {
        if (access->is_write)
            rtc->index = (uint8_t)access->value % REG_COUNT;
        return BUS_DONE;
    }
    host_ns = rtc->now_ns(rtc->now_arg);
    events_collect(rtc, host_ns);
    if (access->is_write)
        register_write(rtc, (uint8_t)access->value, host_ns);
    else
        access->value = register_read(rtc, host_ns);
    events_announce(rtc, host_ns);
    return BUS_DONE;
}

static const struct bus_range_ops range_ops = {.access = rtc_access};

/* ---- life ---- */

static void cmos_put(struct rtc *rtc, uint8_t index, uint64_t value, unsigned size)
{
    value = u64_min(value, (1ULL << (8 * size)) - 1);
    for (unsigned i = 0; i < size; i++)
        rtc->cmos[index + i] = (uint8_t)(value >> (8 * i));
}

static uint64_t above(uint64_t size, uint64_t start)
{
    return size > start ? size - start : 0;
}

static void cmos_put_memory(struct rtc *rtc, const struct rtc_config *config)
{
    enum { BASE_KIB = 640, KIB_SHIFT = 10, CHUNK_SHIFT = 16 };
    uint64_t extended_kib = above(config->mem_below_4g, 1ULL << 20) >> KIB_SHIFT;

    cmos_put(rtc, CMOS_BASE_KIB, BASE_KIB, 2);
    cmos_put(rtc, CMOS_EXTENDED_KIB, extended_kib, 2);
    cmos_put(rtc, CMOS_EXTENDED_KIB_COPY, extended_kib, 2);
    cmos_put(rtc, CMOS_ABOVE_16M_64KIB, above(config->mem_below_4g, 16ULL << 20) >> CHUNK_SHIFT, 2);
    cmos_put(rtc, CMOS_ABOVE_4G_64KIB, config->mem_above_4g >> CHUNK_SHIFT, 3);
}

void rtc_reset(struct rtc *rtc)
{
    alarm_clear(&rtc->alarm);
    if (rtc->irq_level)
        irq_line_set(&rtc->irq, false);
    rtc->irq_level = false;
    rtc->index = 0;
    rtc->cmos[REG_B] &= (uint8_t) ~(EVENT_MASK | B_SQUARE_WAVE);
    rtc->cmos[REG_C] = 0;
}

void rtc_stop(struct rtc *rtc)
{
    alarm_clear(&rtc->alarm);
}

int rtc_create(struct rtc **out, const struct rtc_config *config, struct err *err)
{
    struct rtc *rtc = calloc(1, sizeof(*rtc));
    int ret;

    if (!rtc)
        return err_set(err, -ENOMEM, "real-time clock: out of memory");
    rtc->bus = config->bus;
    rtc->irq = config->irq;
    rtc->now_ns = config->now_ns ? config->now_ns : host_now_ns;
    rtc->now_arg = config->now_arg;
    rtc->alarm = (struct alarm){.executor = config->executor, .ring = alarm_ring};
    rtc->range = (struct bus_range){.ops = &range_ops,
                                    .name = "real-time clock",
                                    .base = config->base,
                                    .len = RTC_PORT_COUNT,
                                    .width_max = 1};
    rtc->cmos[REG_A] = A_DIVIDER_32768_HZ | A_RATE_1024_HZ;
    rtc->cmos[REG_B] = B_24_HOURS;
    rtc->cmos[REG_D] = D_VALID;
    rtc->checked_ns = rtc->now_ns(rtc->now_arg);
    cmos_put_memory(rtc, config);
    ret = bus_add(rtc->bus, &rtc->range, err);
    if (ret) {
        free(rtc);
        return ret;
    }
    *out = rtc;
    return 0;
}

void rtc_destroy(struct rtc *rtc)
{
    if (!rtc)
        return;
    CHECK(!rtc->alarm.is_spawned);
    bus_remove(rtc->bus, &rtc->range);
    free(rtc);
}
