// SPDX-License-Identifier: Apache-2.0
/*
 * The firmware's log, where the CCEL table of ACPI says: one record in the old SHA-1 form that names the digest
 * algorithms ("Spec ID Event03"), then crypto-agile records, then filler of 0xff up to the end of the area. A log
 * without filler may have been cut off by its area, so it is refused.
 *
 * Registers are 1..4 here, for RTMR0..3. Payloads are not proved: a digest follows its event type's own rule.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "eventlog.h"

#define WHERE          "CCEL"
#define ALGORITHMS_MAX 8
#define ALG_SHA384     0x000c
#define ALG_LEN_MAX    64
#define SHA1_LEN       20
#define FILLER         0xff
#define END_MARKER     UINT32_C(0xffffffff)

struct algorithms {
	struct {
		uint16_t id, len;
	} at[ALGORITHMS_MAX];
	uint32_t n;
};

static int malformed(struct err *e, size_t i, const char *why)
{
	char where[64];

	snprintf(where, sizeof(where), WHERE " event %zu", i);
	return err_reason(e, ID_EVENTLOG_MALFORMED, where, "%s", why);
}

/* TCG_EfiSpecIdEvent: signature, class, versions, then id and digest size of each algorithm, then vendor bytes. */
static bool spec_id_read(struct in data, struct algorithms *algs)
{
	static const char signature[16] = "Spec ID Event03";
	const uint8_t *at;
	uint8_t vendor_len;
	bool has_sha384 = false;

	if (!in_ref(&data, &at, sizeof(signature)) || memcmp(at, signature, sizeof(signature)) != 0 ||
	    !in_ref(&data, &at, 4 + 4) || !in_u32le(&data, &algs->n) || !algs->n || algs->n > ALGORITHMS_MAX)
		return false;
	for (uint32_t i = 0; i < algs->n; i++) {
		if (!in_u16le(&data, &algs->at[i].id) || !in_u16le(&data, &algs->at[i].len) || !algs->at[i].len ||
		    algs->at[i].len > ALG_LEN_MAX)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (algs->at[j].id == algs->at[i].id)
				return false;
		has_sha384 = has_sha384 || (algs->at[i].id == ALG_SHA384 && algs->at[i].len == ID_MR_LEN);
	}
	return has_sha384 && in_u8(&data, &vendor_len) && vendor_len == data.left;
}

static int header_read(struct in *in, struct algorithms *algs, struct err *e)
{
	uint32_t reg, type, len;
	const uint8_t *digest;
	struct in data;

	if (!in_u32le(in, &reg) || !in_u32le(in, &type) || !in_ref(in, &digest, SHA1_LEN) || !in_u32le(in, &len) ||
	    !in_sub(in, &data, len))
		return malformed(e, 0, "is cut off");
	if (type != ID_EVENT_NO_ACTION || !spec_id_read(data, algs))
		return malformed(e, 0, "is not \"Spec ID Event03\" with SHA-384 among 1 to 8 algorithms");
	return 0;
}

static const uint8_t *digest_read(struct in *in, const struct algorithms *algs, uint16_t *id)
{
	const uint8_t *digest;

	if (!in_u16le(in, id))
		return NULL;
	for (uint32_t i = 0; i < algs->n; i++)
		if (algs->at[i].id == *id)
			return in_ref(in, &digest, algs->at[i].len) ? digest : NULL;
	return NULL;
}

/* One digest for each algorithm of the header, in any order, none twice. */
static bool digests_read(struct in *in, const struct algorithms *algs, struct id_event *event)
{
	uint16_t seen[ALGORITHMS_MAX];
	uint32_t count;

	if (!in_u32le(in, &count) || count != algs->n)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *digest = digest_read(in, algs, &seen[i]);

		if (!digest)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (seen[j] == seen[i])
				return false;
		if (seen[i] == ALG_SHA384)
			event->digest = digest;
	}
	return true;
}

/* 1: an event, 0: the filler begins. */
static int event_read(struct in *in, const struct algorithms *algs, struct id_events *events, struct err *e)
{
	uint32_t reg, len;
	struct id_event *event;

	if (!in_u32le(in, &reg))
		return malformed(e, events->n + 1, "is cut off, or the log has no end marker");
	if (reg == END_MARKER)
		return 0;
	if (reg < 1 || reg > ID_RTMRS)
		return malformed(e, events->n + 1, "register is none of 1 to 4");
	event = id_events_add(events);
	if (!event)
		return malformed(e, events->n + 1, "is one too many");
	event->rtmr = reg - 1;
	if (!in_u32le(in, &event->type) || !digests_read(in, algs, event))
		return malformed(e, events->n, "digests are not one of each algorithm in the header");
	if (!in_u32le(in, &len) || !in_sub(in, &event->payload, len))
		return malformed(e, events->n, "data goes beyond the log");
	return 1;
}

static bool is_filler(struct in in)
{
	for (size_t i = 0; i < in.left; i++)
		if (in.p[i] != FILLER)
			return false;
	return true;
}

int id_events_from_ccel(const uint8_t *bytes, size_t len, struct id_events *events, struct err *e)
{
	auto_call(id_events_fini) struct id_events made = { .is_binary = true };
	struct in in = in_of(bytes, len);
	struct algorithms algs;
	int ret;

	if (len > ID_CCEL_MAX)
		return err_reason(e, ID_EVENTLOG_MALFORMED, WHERE, "%zu bytes, at most %d are read", len, ID_CCEL_MAX);
	ret = header_read(&in, &algs, e);
	if (ret < 0)
		return ret;
	do {
		ret = event_read(&in, &algs, &made, e);
	} while (ret > 0);
	if (ret < 0)
		return ret;
	if (!is_filler(in))
		return err_reason(e, ID_EVENTLOG_MALFORMED, WHERE, "has bytes other than 0xff behind its end marker");
	*events = made;
	made = (struct id_events){ 0 };
	return 0;
}
