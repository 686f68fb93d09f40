"""Somebody who writes to the source all the time."""

import json
import os
import random
import threading
import time

import psycopg
from world import FIRST_ROWS, server


class Writer(threading.Thread):
    """Changes two tables in transactions of all kinds until it is told to stop."""

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.random, self.running, self.transactions, self.broken = random.Random(seed), True, 0, 0

    def run(self):
        while self.running:
            try:
                with server.connect() as connection:
                    while self.running:
                        self.transaction(connection)
                        self.transactions += 1
                        time.sleep(self.random.uniform(0, 0.02))
            except psycopg.Error:
                self.broken += 1
                time.sleep(0.1)

    def transaction(self, connection):
        chance, pick = self.random.random(), self.random.randrange
        try:
            with connection.transaction():
                for _ in range(self.random.randint(1, 8)):
                    self.change(connection, pick)
                if chance < 0.1:
                    raise ZeroDivisionError
                if chance < 0.13:
                    connection.execute(
                        "INSERT INTO orders (id, name) SELECT g, 'many' FROM generate_series(%s, %s) g "
                        "ON CONFLICT DO NOTHING",
                        (first := 10**6 + pick(20_000), last := first + 2_000),
                    )
                    some = (first + 500, last - 500)
                    connection.execute("UPDATE orders SET amount = id WHERE id BETWEEN %s AND %s", some)
                    if chance < 0.11:
                        connection.execute("DELETE FROM orders WHERE id BETWEEN %s AND %s", some)
                if chance > 0.995:
                    connection.execute("TRUNCATE items")
        except ZeroDivisionError:
            pass

    def change(self, connection, pick):
        kind, key = self.random.random(), pick(FIRST_ROWS * 2)
        large = os.urandom(3_000).hex() if kind < 0.08 else "small"
        if kind < 0.35:
            connection.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, now(), ARRAY['a b', NULL, '\"'], %s, true) "
                "ON CONFLICT (id) DO NOTHING",
                (key, f"n{key}\t\\\n", key / 7, large, json.dumps({"a": key})),
            )
        elif kind < 0.6:
            connection.execute("UPDATE orders SET amount = amount + 1 WHERE id = %s", (key,))
        elif kind < 0.65:
            connection.execute("UPDATE orders SET note = %s WHERE id = %s", (os.urandom(3_000).hex(), key))
        elif kind < 0.8:
            connection.execute("DELETE FROM orders WHERE id = %s", (key,))
        elif kind < 0.9:
            connection.execute(
                "UPDATE orders SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM orders WHERE id = %s)",
                (new := pick(FIRST_ROWS * 4), key, new),
            )
        else:
            connection.execute(
                "INSERT INTO items VALUES (%s, %s, %s) ON CONFLICT (a, b) DO UPDATE SET c = excluded.c",
                (pick(50), f"b{pick(50)}", large),
            )
            connection.execute("UPDATE items SET b = b || 'x' WHERE a = %s AND length(b) < 9", (pick(50),))
