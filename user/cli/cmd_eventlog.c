// SPDX-License-Identifier: Apache-2.0
/* bailey eventlog replay: what a log makes of the registers, and whether a quote says the same. */
#include "cmds.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "evidence.h"
#include "identity/eventlog.h"
#include "identity/quote_tdx.h"

#define REPORT_MAX (1024 * 1024)

DEFINE_CLEANUP(json, json_t, json_decref)

static const char usage[] =
	"usage: bailey eventlog replay FILE [--quote QUOTE | --rtmr N=HEX ...] [--json]\n"
	"\n"
	"Replays an event log: dstack's JSON (an array, or an object with event_log) or a binary CCEL (\"-\": "
	"standard\n"
	"input). With --quote or --rtmr the registers are compared. The quote itself is not verified here: see\n"
	"`bailey quote verify`. Exit status: 0 replayed, and equal to what was given; 1 refused or not equal; 2 "
	"usage.\n"
	"\n"
	"  --quote FILE  a TDX quote with the registers that the log must replay to\n"
	"  --rtmr N=HEX  register N (0 to 3) must be HEX\n"
	"  --json        for programs\n";

struct args {
	const char *quote; /* path */
	bool is_json;
	bool has[ID_RTMRS]; /* what the registers must be */
	uint8_t rtmr[ID_RTMRS][ID_MR_LEN];
};

/* "3=00ff..." */
static bool rtmr_read(const char *text, struct args *args)
{
	int n = text[0] - '0';

	if (n < 0 || n >= ID_RTMRS || text[1] != '=' || args->has[n])
		return false;
	args->has[n] = true;
	return hex_parse(args->rtmr[n], ID_MR_LEN, text + 2);
}

static int quote_read(struct args *args, struct err *e)
{
	auto_free char *data = NULL;
	struct id_quote quote;
	size_t len = 0;
	int ret = file_read_arg(args->quote, REPORT_MAX, &data, &len, e);

	if (!ret)
		ret = id_quote_parse((const uint8_t *)data, len, &quote, e);
	if (ret < 0)
		return ret;
	memcpy(args->rtmr, quote.rtmr, sizeof(args->rtmr));
	memset(args->has, true, sizeof(args->has));
	return 0;
}

/* A GetQuote answer has the log in event_log, as text or as an array. */
static int json_log_read(const char *data, size_t len, struct id_events *events, struct err *e)
{
	auto_call(cleanup_json) json_t *object = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *log = json_object_get(object, "event_log");
	auto_free char *text = json_is_string(log)  ? strdup(json_string_value(log))
			       : json_is_array(log) ? json_dumps(log, JSON_COMPACT)
						    : NULL;

	return text ? id_events_from_json(text, strlen(text), events, e) : id_events_from_json(data, len, events, e);
}

static int log_read(const char *path, struct id_events *events, char **bytes, struct err *e)
{
	size_t len = 0, first = 0;
	int ret = file_read_arg(path, REPORT_MAX, bytes, &len, e);

	if (ret < 0)
		return ret;
	while (first < len && isspace((unsigned char)(*bytes)[first]))
		first++;
	if (first < len && ((*bytes)[first] == '[' || (*bytes)[first] == '{'))
		return json_log_read(*bytes, len, events, e);
	return id_events_from_ccel((const uint8_t *)*bytes, len, events, e);
}

/* "equal", "differs", "not compared"; a stripped log says nothing of RTMR0..2. */
static const char *comparison(const struct id_log *log, const struct args *args, int n)
{
	if (!args->has[n])
		return "not compared";
	if (log->is_stripped && n < 3)
		return "stripped log, not compared";
	return memcmp(log->rtmr[n], args->rtmr[n], ID_MR_LEN) == 0 ? "equal" : "differs";
}

static bool registers_report(const struct id_log *log, const struct args *args, json_t *report)
{
	bool ok = true;

	for (int i = 0; i < ID_RTMRS; i++) {
		const char *text = comparison(log, args, i);
		json_t *o = json_object();
		char name[16];

		snprintf(name, sizeof(name), "rtmr%d", i);
		json_object_set_new(o, "events", json_integer(log->n_events[i]));
		json_object_set_new(o, "replayed", json_hex(log->rtmr[i], ID_MR_LEN));
		if (args->has[i])
			json_object_set_new(o, "expected", json_hex(args->rtmr[i], ID_MR_LEN));
		json_object_set_new(o, "result", json_string(text));
		json_object_set_new(report, name, o);
		ok = ok && strcmp(text, "differs") != 0;
	}
	return ok;
}

/* Only a log with runtime events has one. */
static bool identity_report(const struct id_events *events, struct id_log *log, json_t *report)
{
	struct err e = ERR_INIT;

	if (events->is_binary || !log->n_events[3])
		return true;
	if (id_events_identity(events, log, &e) < 0)
		json_object_set_new(report, "identity", ev_refusal(&e));
	else
		json_object_set_new(report, "identity", ev_log_identity(log));
	return !e.code;
}

static int replay(const char *path, struct args *args)
{
	auto_call(id_events_fini) struct id_events events = { 0 };
	auto_free char *bytes = NULL;
	struct err e = ERR_INIT;
	struct id_log log;
	json_t *report;
	bool ok;

	if ((args->quote && quote_read(args, &e) < 0) || log_read(path, &events, &bytes, &e) < 0 ||
	    id_events_replay(&events, &log, &e) < 0)
		return ev_fail(&e);
	report = json_object();
	json_object_set_new(report, "format", json_string(events.is_binary ? "CCEL" : "dstack JSON"));
	json_object_set_new(report, "events", json_integer((json_int_t)events.n));
	json_object_set_new(report, "stripped", json_boolean(log.is_stripped));
	ok = registers_report(&log, args, report);
	ok = identity_report(&events, &log, report) && ok;
	json_object_set_new(report, "verdict",
			    json_string(!ok           ? "refused"
					: args->quote ? "replays to the quote, which was not verified"
					: memchr(args->has, true, ID_RTMRS) ? "replays to the registers given"
									    : "replayed, compared with nothing"));
	ev_print(report, args->is_json);
	return ok ? EV_OK : EV_REFUSED;
}

static int replay_main(int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "quote", required_argument, NULL, 'q' },
						 { "rtmr", required_argument, NULL, 'r' },
						 { NULL, 0, NULL, 0 } };
	struct args args = { 0 };
	bool ok = true, has_rtmr = false;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'j')
			args.is_json = true;
		else if (c == 'q')
			args.quote = optarg;
		else if (c == 'r')
			ok = (has_rtmr = rtmr_read(optarg, &args)) && ok;
		else
			ok = false;
	}
	if (!ok || optind != argc - 1 || (args.quote && has_rtmr)) {
		fputs(usage, stderr);
		return EV_USAGE;
	}
	return replay(argv[optind], &args);
}

int cmd_eventlog(int argc, char **argv)
{
	if (ev_wants_help(argc, argv)) {
		fputs(usage, stdout);
		return EV_OK;
	}
	if (argc >= 2 && strcmp(argv[1], "replay") == 0)
		return replay_main(argc - 1, argv + 1);
	fputs(usage, stderr);
	return EV_USAGE;
}
