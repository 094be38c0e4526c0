/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands: one line each in main.c's table. argv[0] is the subcommand. Exit status: see main.c. */
#pragma once

#include <stdbool.h>

enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_USAGE = 2 };

int cmd_status(int argc, char **argv);
int cmd_peers(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_authkey(int argc, char **argv);
int cmd_node(int argc, char **argv);
/* Of `bailey node`, asked of baileyd; argv[0] is the command's own name. */
bool cmd_node_is_static(const char *verb);
int cmd_node_static(int argc, char **argv);
int cmd_monitor(int argc, char **argv);
int cmd_drops(int argc, char **argv);
int cmd_flows(int argc, char **argv);
int cmd_capture(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_workload(int argc, char **argv);
int cmd_metrics(int argc, char **argv);
int cmd_mesh(int argc, char **argv);

int cmd_policy(int argc, char **argv);
/* Of `bailey policy`; argv[0] is the command's own name. */
int cmd_policy_explain(int argc, char **argv);
int cmd_policy_compile(int argc, char **argv);
int cmd_policy_fmt(int argc, char **argv);
int cmd_policy_apply(int argc, char **argv);
int cmd_policy_confirm(int argc, char **argv);
int cmd_policy_rollback(int argc, char **argv);

int cmd_quote(int argc, char **argv);
int cmd_collateral(int argc, char **argv);
int cmd_cert(int argc, char **argv);
int cmd_eventlog(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_dev_identity(int argc, char **argv);

int cmd_genkey(int argc, char **argv);
int cmd_pubkey(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_tunnel(int argc, char **argv);
