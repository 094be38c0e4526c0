/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dstack-vpc's REST API, as the front process speaks it behind our own mesh. api_request.c: what is asked (pure);
 * api.c: connections and answers. What is decided: store_api.c, api_store.c.
 */
#pragma once

#include "http/http.h"
#include "internal.h"

#define VS_API_HEAD_MAX   8192
#define VS_API_FIELDS_MAX 64

struct vs_api_request {
	enum vs_api_path path;
	bool has_caller; /* the mesh says who it is */
	struct vs_caller caller;
	struct vs_api_node node;     /* UPDATE; of DISCOVER the type; of REGISTER instance_id is the uuid */
	char name[BY_NODE_NAME_LEN]; /* REGISTER: node_name, as far as it is one */
	const char *bad;             /* a parameter that can not be; NULL: none */
};

/* Of a whole head of a request. */
void vs_api_read(const struct http_head *h, const char *text, struct vs_api_request *r);

struct front;
struct api;

/* `mesh`: the only user whose connections are listened to. */
int api_new(struct front *front, int listener, uid_t mesh, struct api **api, struct err *e);
void api_free(struct api *api);                    /* accepts NULL; `listener` stays open */
uint64_t api_accept_failed(const struct api *api); /* times that nobody could be accepted */
void api_done(struct api *api, const struct vs_msg_api_done *m, const char *body, size_t len);
