// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "baileyd/ipc.h"

struct end {
	struct event_base *base;
	struct ipc *ipc;
	unsigned received, downs;
	uint16_t type;
	size_t len;
	char data[256];
	int fd;
};

static void on_message(struct ipc_msg *msg, void *arg)
{
	struct end *end = arg;

	end->received++;
	end->type = msg->type;
	end->len = msg->len;
	memcpy(end->data, msg->data, msg->len < sizeof(end->data) ? msg->len : sizeof(end->data));
	close_at(&end->fd);
	end->fd = take_fd(&msg->fd);
	assert_ptr_equal(ipc_as(msg, msg->len), msg->data);
	assert_null(ipc_as(msg, msg->len + 1));
	assert_int_equal((uintptr_t)msg->data % 8, 0);
}

static void on_down(void *arg)
{
	struct end *end = arg;

	end->downs++;
	ipc_free(end->ipc);
	end->ipc = NULL;
}

struct pair {
	struct event_base *base;
	struct end a, b;
	int raw; /* b's descriptor when it has no ipc */
};

static int set_up(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	assert_int_equal(ipc_pair(fds), 0);
	p->base = event_base_new();
	p->a.fd = p->b.fd = -1;
	assert_int_equal(ipc_new(p->base, fds[0], on_message, on_down, &p->a, &p->a.ipc), 0);
	assert_int_equal(ipc_new(p->base, fds[1], on_message, on_down, &p->b, &p->b.ipc), 0);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	ipc_free(p->a.ipc);
	ipc_free(p->b.ipc);
	close_at(&p->a.fd);
	close_at(&p->b.fd);
	event_base_free(p->base);
	free(p);
	return 0;
}

static void spin(struct pair *p)
{
	for (int i = 0; i < 200; i++)
		event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static void a_message_arrives_whole(void **state)
{
	struct pair *p = *state;

	assert_int_equal(ipc_send(p->a.ipc, 7, "hello", 5, -1), 0);
	spin(p);
	assert_int_equal(p->b.received, 1);
	assert_int_equal(p->b.type, 7);
	assert_int_equal(p->b.len, 5);
	assert_memory_equal(p->b.data, "hello", 5);
	assert_int_equal(p->b.fd, -1);
}

static void order_and_number_survive_a_full_socket(void **state)
{
	struct pair *p = *state;
	static char big[IPC_MAX];

	for (int i = 0; i < 500; i++) {
		memcpy(big, &i, sizeof(i));
		assert_int_equal(ipc_send(p->a.ipc, 1, big, sizeof(big), -1), 0);
	}
	assert_true(ipc_queued(p->a.ipc) > 0);
	for (int i = 0; i < 50; i++)
		spin(p);
	assert_int_equal(p->b.received, 500);
	assert_int_equal(*(int *)p->b.data, 499);
	assert_int_equal(ipc_queued(p->a.ipc), 0);
	assert_int_equal(ipc_send(p->a.ipc, 1, big, sizeof(big) + 1, -1), -EMSGSIZE);
}

static void a_blob_is_sealed_and_copied(void **state)
{
	struct pair *p = *state;
	uint8_t *data;
	size_t len;

	assert_int_equal(ipc_send_blob(p->a.ipc, 9, "head", 4, "payload", 7), 0);
	spin(p);
	assert_int_equal(p->b.len, 4);
	assert_true(p->b.fd >= 0);
	assert_int_equal(fcntl(p->b.fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(write(p->b.fd, "x", 1), -1); /* the sender could not change it either */
	assert_int_equal(ipc_blob_read(p->b.fd, 6, &data, &len), -EFBIG);
	assert_int_equal(ipc_blob_read(p->b.fd, 7, &data, &len), 0);
	assert_int_equal(len, 7);
	assert_string_equal((char *)data, "payload");
	free(data);
	assert_int_equal(ipc_blob_read(-1, 7, &data, &len), -EBADF);
}

static void the_other_ends_death_is_told_once(void **state)
{
	struct pair *p = *state;

	ipc_free(p->b.ipc);
	p->b.ipc = NULL;
	spin(p);
	assert_int_equal(p->a.downs, 1);
}

/* What no ipc_send() makes: a datagram without a type, an oversized one. The channel ends instead of guessing. */
static void a_broken_message_ends_the_channel(void **state)
{
	struct event_base *base = event_base_new();
	struct end end = { .fd = -1 };
	static char big[IPC_MAX + 64];
	int fds[2];

	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(ipc_pair(fds), 0);
		assert_int_equal(ipc_new(base, fds[0], on_message, on_down, &end, &end.ipc), 0);
		assert_true(send(fds[1], big, round ? sizeof(big) : 1, 0) > 0);
		event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(end.downs, round + 1);
		close(fds[1]);
	}
	assert_int_equal(end.received, 0);
	event_base_free(base);
}

/* With a dispatch that would wait for ever: the channel's end is what ends it. */
static void without_anybody_to_tell_the_loop_ends(void **state)
{
	struct event_base *base = event_base_new();
	struct end end = { .fd = -1 };
	int fds[2];

	(void)state;
	assert_int_equal(ipc_pair(fds), 0);
	assert_int_equal(ipc_new(base, fds[0], on_message, NULL, &end, &end.ipc), 0);
	close(fds[1]);
	assert_int_equal(event_base_dispatch(base), 0);
	assert_true(event_base_got_break(base));
	ipc_free(end.ipc);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_arrives_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(order_and_number_survive_a_full_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_blob_is_sealed_and_copied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_other_ends_death_is_told_once, set_up, tear_down),
		cmocka_unit_test(a_broken_message_ends_the_channel),
		cmocka_unit_test(without_anybody_to_tell_the_loop_ends),
	};

	return cmocka_run_group_tests_name("baileyd/ipc", tests, NULL, NULL);
}
