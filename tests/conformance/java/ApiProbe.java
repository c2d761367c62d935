import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

/**
 * Calls every method of the Java client against the servers named by the first argument and checks what comes back.
 * Prints one line per check: "ok NAME" or "FAILED NAME: why".  The servers need extended types, a container check
 * interval of 100 ms and the super digest of super:test.
 */
public class ApiProbe {
    static final int TIMEOUT_MS = 10_000;
    static final long WAIT_S = 20;
    static final List<ACL> OPEN = Ids.OPEN_ACL_UNSAFE;

    static String servers;
    static int failed;

    interface Check {
        void run(ZooKeeper zk, String base) throws Exception;
    }

    /** Keeps the events it is given, for a check to wait for. */
    static class Events implements Watcher {
        final BlockingQueue<WatchedEvent> queue = new LinkedBlockingQueue<>();

        @Override
        public void process(WatchedEvent event) {
            queue.add(event);
        }

        void expect(EventType type, String path) throws Exception {
            WatchedEvent event = queue.poll(WAIT_S, TimeUnit.SECONDS);
            that(event != null, "no event, waited for " + type + " " + path);
            that(event.getType() == type && path.equals(event.getPath()), "event " + event + ", not " + type + " " + path);
        }

        void expectNone() {
            that(queue.isEmpty(), "unexpected events " + queue);
        }
    }

    static ZooKeeper connect(String suffix, Watcher watcher) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(servers + suffix, TIMEOUT_MS, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
            if (watcher != null && event.getType() != EventType.None) {
                watcher.process(event);
            }
        });
        that(connected.await(WAIT_S, TimeUnit.SECONDS), "no connection");
        return zk;
    }

    static void that(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void same(Object wanted, Object got) {
        that(wanted == null ? got == null : wanted.equals(got), "got " + got + ", not " + wanted);
    }

    static void fails(Code code, Callable<?> call) throws Exception {
        try {
            Object got = call.call();
            throw new AssertionError("got " + got + ", not " + code);
        } catch (KeeperException error) {
            same(code, error.code());
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    static void gone(ZooKeeper zk, String path) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
        while (zk.exists(path, false) != null) {
            that(System.nanoTime() < deadline, path + " was not removed");
            Thread.sleep(20);
        }
    }

    /** Calls again while the connection is being made anew. */
    static <T> T again(Callable<T> call) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
        while (true) {
            try {
                return call.call();
            } catch (KeeperException.ConnectionLossException error) {
                that(System.nanoTime() < deadline, "no new connection");
                Thread.sleep(20);
            }
        }
    }

    static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(WAIT_S, TimeUnit.SECONDS);
    }

    static String digest(String user) throws Exception {
        return DigestAuthenticationProvider.generateDigest(user);
    }

    static final Map<String, Check> CHECKS = new TreeMap<>();

    static {
        creates();
        reads();
        writes();
        asynchronous();
        multis();
        watches();
        acls();
        sessions();
        limits();
    }

    static void creates() {
        CHECKS.put("create/persistent", (zk, base) -> {
            same(base + "/p", zk.create(base + "/p", bytes("x"), OPEN, CreateMode.PERSISTENT));
            same("x", text(zk.getData(base + "/p", false, null)));
        });
        CHECKS.put("create/with stat", (zk, base) -> {
            Stat stat = new Stat();
            zk.create(base + "/s", bytes("abc"), OPEN, CreateMode.PERSISTENT, stat);
            same(3, stat.getDataLength());
            same(stat.getCzxid(), stat.getMzxid());
            same(stat.getCzxid(), stat.getPzxid());
            same(0, stat.getVersion());
            same(0L, stat.getEphemeralOwner());
        });
        CHECKS.put("create/ephemeral", (zk, base) -> {
            zk.create(base + "/e", null, OPEN, CreateMode.EPHEMERAL);
            same(zk.getSessionId(), zk.exists(base + "/e", false).getEphemeralOwner());
        });
        CHECKS.put("create/sequential", (zk, base) -> {
            for (int i = 0; i < 3; i++) {
                String path = zk.create(base + "/q-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL);
                same(String.format("%s/q-%010d", base, i), path);
            }
            String path = zk.create(base + "/q-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL);
            same(base + "/q-0000000003", path);
        });
        CHECKS.put("create/sequential without a name", (zk, base) ->
            same(base + "/0000000000", zk.create(base + "/", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL)));
        CHECKS.put("create/null data", (zk, base) -> {
            zk.create(base + "/n", null, OPEN, CreateMode.PERSISTENT);
            Stat stat = new Stat();
            same(null, zk.getData(base + "/n", false, stat));
            same(0, stat.getDataLength());
        });
        CHECKS.put("create/container goes with its last child", (zk, base) -> {
            Stat stat = new Stat();
            zk.create(base + "/c", null, OPEN, CreateMode.CONTAINER, stat);
            same(0L, stat.getEphemeralOwner());
            zk.create(base + "/c/x", null, OPEN, CreateMode.PERSISTENT);
            zk.delete(base + "/c/x", -1);
            gone(zk, base + "/c");
        });
        CHECKS.put("create/TTL node goes when its time is over", (zk, base) -> {
            Stat stat = new Stat();
            zk.create(base + "/t", bytes("t"), OPEN, CreateMode.PERSISTENT_WITH_TTL, stat, 300);
            same(0L, stat.getEphemeralOwner());
            gone(zk, base + "/t");
        });
        CHECKS.put("create/TTL node with a child stays", (zk, base) -> {
            zk.create(base + "/t", null, OPEN, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 200);
            zk.create(base + "/t/c", null, OPEN, CreateMode.PERSISTENT);
            zk.create(base + "/other", null, OPEN, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 200);
            gone(zk, base + "/other");
            that(zk.exists(base + "/t", false) != null, "a TTL node with a child was removed");
            zk.delete(base + "/t/c", -1);
            gone(zk, base + "/t");
        });
        CHECKS.put("create/TTL sequential", (zk, base) ->
            same(base + "/t0000000000",
                zk.create(base + "/t", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, new Stat(), 60_000)));
        CHECKS.put("create/errors", (zk, base) -> {
            zk.create(base + "/x", null, OPEN, CreateMode.PERSISTENT);
            zk.create(base + "/e", null, OPEN, CreateMode.EPHEMERAL);
            fails(Code.NODEEXISTS, () -> zk.create(base + "/x", null, OPEN, CreateMode.PERSISTENT));
            fails(Code.NONODE, () -> zk.create(base + "/a/b", null, OPEN, CreateMode.PERSISTENT));
            fails(Code.NOCHILDRENFOREPHEMERALS, () -> zk.create(base + "/e/c", null, OPEN, CreateMode.PERSISTENT));
            fails(Code.INVALIDACL, () -> zk.create(base + "/i", null,
                Collections.singletonList(new ACL(Perms.ALL, new Id("nosuch", "x"))), CreateMode.PERSISTENT));
            fails(Code.INVALIDACL, () -> zk.create(base + "/i", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        });
        CHECKS.put("create/unicode path", (zk, base) -> {
            String path = base + "/äöü-žluťoučký-日本語";
            zk.create(path, bytes("ž"), OPEN, CreateMode.PERSISTENT);
            same("ž", text(zk.getData(path, false, null)));
            same(Collections.singletonList("äöü-žluťoučký-日本語"), zk.getChildren(base, false));
        });
    }

    static void reads() {
        CHECKS.put("exists/missing", (zk, base) -> same(null, zk.exists(base + "/no", false)));
        CHECKS.put("getData/missing", (zk, base) -> fails(Code.NONODE, () -> zk.getData(base + "/no", false, null)));
        CHECKS.put("getChildren/all forms", (zk, base) -> {
            for (String name : Arrays.asList("c", "a", "b")) {
                zk.create(base + "/" + name, null, OPEN, CreateMode.PERSISTENT);
            }
            Stat stat = new Stat();
            same("[a, b, c]", new TreeSet<>(zk.getChildren(base, false)).toString());
            same("[a, b, c]", new TreeSet<>(zk.getChildren(base, false, stat)).toString());
            same(3, stat.getNumChildren());
            same(3, stat.getCversion());
            same(Collections.emptyList(), zk.getChildren(base + "/a", (Watcher) null));
            fails(Code.NONODE, () -> zk.getChildren(base + "/no", false));
        });
        CHECKS.put("getAllChildrenNumber", (zk, base) -> {
            same(0, zk.getAllChildrenNumber(base));
            for (String name : Arrays.asList("/a", "/a/b", "/a/b/c", "/d")) {
                zk.create(base + name, null, OPEN, CreateMode.PERSISTENT);
            }
            same(4, zk.getAllChildrenNumber(base));
            same(2, zk.getAllChildrenNumber(base + "/a"));
        });
        CHECKS.put("getEphemerals", (zk, base) -> {
            zk.create(base + "/e1", null, OPEN, CreateMode.EPHEMERAL);
            zk.create(base + "/e2", null, OPEN, CreateMode.EPHEMERAL);
            same("[" + base + "/e1, " + base + "/e2]", new TreeSet<>(zk.getEphemerals()).toString());
            same(Collections.singletonList(base + "/e2"), zk.getEphemerals(base + "/e2"));
            same(Collections.emptyList(), zk.getEphemerals("/nowhere"));
        });
        CHECKS.put("whoAmI", (zk, base) -> {
            zk.addAuthInfo("digest", bytes("who:pw"));
            TreeSet<String> who = new TreeSet<>();
            for (ClientInfo info : zk.whoAmI()) {
                who.add(info.getAuthScheme() + ":" + info.getUser());
            }
            same("[digest:who, ip:127.0.0.1]", who.toString());
        });
        CHECKS.put("getConfig", (zk, base) -> {
            Stat stat = new Stat();
            byte[] config = zk.getConfig(false, stat);
            that(config == null || config.length == 0 || text(config).contains("server."), "config " + text(config));
        });
        CHECKS.put("sync", (zk, base) -> {
            CompletableFuture<Integer> done = new CompletableFuture<>();
            zk.sync(base, (rc, path, context) -> done.complete(path.equals(base) ? rc : -999), null);
            same(0, get(done));
            zk.sync(base);
        });
        CHECKS.put("getData/stat over its life", (zk, base) -> {
            zk.create(base + "/s", bytes("1"), OPEN, CreateMode.PERSISTENT);
            Stat first = zk.exists(base + "/s", false);
            Stat second = zk.setData(base + "/s", bytes("22"), 0);
            zk.create(base + "/s/c", null, OPEN, CreateMode.PERSISTENT);
            zk.setACL(base + "/s", OPEN, 0);
            Stat last = zk.exists(base + "/s", false);
            same(first.getCzxid(), last.getCzxid());
            same(second.getMzxid(), last.getMzxid());
            that(last.getPzxid() > last.getMzxid(), "pzxid did not move");
            same(1, last.getVersion());
            same(1, last.getCversion());
            same(1, last.getAversion());
            same(2, last.getDataLength());
            same(1, last.getNumChildren());
            that(last.getMtime() >= last.getCtime(), "mtime before ctime");
        });
    }

    static void writes() {
        CHECKS.put("setData/versions", (zk, base) -> {
            zk.create(base + "/v", bytes("0"), OPEN, CreateMode.PERSISTENT);
            same(1, zk.setData(base + "/v", bytes("1"), 0).getVersion());
            same(2, zk.setData(base + "/v", bytes("2"), -1).getVersion());
            fails(Code.BADVERSION, () -> zk.setData(base + "/v", bytes("x"), 0));
            fails(Code.NONODE, () -> zk.setData(base + "/no", bytes("x"), -1));
            same("2", text(zk.getData(base + "/v", false, null)));
        });
        CHECKS.put("delete/errors and success", (zk, base) -> {
            zk.create(base + "/d", null, OPEN, CreateMode.PERSISTENT);
            zk.create(base + "/d/c", null, OPEN, CreateMode.PERSISTENT);
            fails(Code.NOTEMPTY, () -> { zk.delete(base + "/d", -1); return null; });
            fails(Code.BADVERSION, () -> { zk.delete(base + "/d/c", 5); return null; });
            zk.delete(base + "/d/c", 0);
            zk.delete(base + "/d", -1);
            fails(Code.NONODE, () -> { zk.delete(base + "/d", -1); return null; });
        });
        CHECKS.put("delete/special nodes", (zk, base) -> {
            fails(Code.BADARGUMENTS, () -> { zk.delete("/zookeeper", -1); return null; });
            fails(Code.BADARGUMENTS, () -> { zk.delete("/zookeeper/quota", -1); return null; });
            fails(Code.BADARGUMENTS, () -> { zk.delete("/zookeeper/config", -1); return null; });
        });
    }

    static void asynchronous() {
        CHECKS.put("async/create, both callbacks", (zk, base) -> {
            CompletableFuture<String> one = new CompletableFuture<>();
            zk.create(base + "/1", bytes("1"), OPEN, CreateMode.PERSISTENT,
                (rc, path, context, name) -> one.complete(rc + " " + name + " " + context), "ctx");
            same("0 " + base + "/1 ctx", get(one));
            CompletableFuture<String> two = new CompletableFuture<>();
            zk.create(base + "/2-", bytes("22"), OPEN, CreateMode.PERSISTENT_SEQUENTIAL,
                (rc, path, context, name, stat) -> two.complete(rc + " " + name + " " + stat.getDataLength()), null);
            same("0 " + base + "/2-0000000001 2", get(two));
            CompletableFuture<String> three = new CompletableFuture<>();
            zk.create(base + "/3", null, OPEN, CreateMode.PERSISTENT_WITH_TTL,
                (rc, path, context, name, stat) -> three.complete(rc + " " + name), null, 60_000);
            same("0 " + base + "/3", get(three));
        });
        CHECKS.put("async/exists, getData, setData, delete", (zk, base) -> {
            zk.create(base + "/a", bytes("a"), OPEN, CreateMode.PERSISTENT);
            CompletableFuture<String> exists = new CompletableFuture<>();
            CompletableFuture<String> data = new CompletableFuture<>();
            CompletableFuture<String> set = new CompletableFuture<>();
            CompletableFuture<String> delete = new CompletableFuture<>();
            CompletableFuture<String> missing = new CompletableFuture<>();
            zk.exists(base + "/a", false, (rc, p, c, stat) -> exists.complete(rc + " " + stat.getVersion()), null);
            zk.getData(base + "/a", false, (rc, p, c, d, stat) -> data.complete(rc + " " + text(d)), null);
            zk.setData(base + "/a", bytes("b"), 0, (rc, p, c, stat) -> set.complete(rc + " " + stat.getVersion()), null);
            zk.delete(base + "/a", 1, (rc, p, c) -> delete.complete(rc + " " + p), null);
            zk.exists(base + "/a", false, (rc, p, c, stat) -> missing.complete(rc + " " + stat), null);
            same("0 0", get(exists));
            same("0 a", get(data));
            same("0 1", get(set));
            same("0 " + base + "/a", get(delete));
            same("-101 null", get(missing));
        });
        CHECKS.put("async/children, ACLs, counts", (zk, base) -> {
            zk.create(base + "/c", null, OPEN, CreateMode.EPHEMERAL);
            CompletableFuture<String> children = new CompletableFuture<>();
            CompletableFuture<String> children2 = new CompletableFuture<>();
            CompletableFuture<String> acl = new CompletableFuture<>();
            CompletableFuture<String> setAcl = new CompletableFuture<>();
            CompletableFuture<String> number = new CompletableFuture<>();
            CompletableFuture<String> ephemerals = new CompletableFuture<>();
            zk.getChildren(base, false, (rc, p, c, names) -> children.complete(rc + " " + names), null);
            zk.getChildren(base, false, (rc, p, c, names, stat) -> children2.complete(rc + " " + names + stat.getNumChildren()), null);
            zk.getACL(base, new Stat(), (rc, p, c, list, stat) -> acl.complete(rc + " " + list.equals(OPEN)), null);
            zk.setACL(base, OPEN, 0, (rc, p, c, stat) -> setAcl.complete(rc + " " + stat.getAversion()), null);
            zk.getAllChildrenNumber(base, (rc, p, c, n) -> number.complete(rc + " " + n), null);
            zk.getEphemerals(base, (rc, c, paths) -> ephemerals.complete(rc + " " + paths), null);
            same("0 [c]", get(children));
            same("0 [c]1", get(children2));
            same("0 true", get(acl));
            same("0 1", get(setAcl));
            same("0 1", get(number));
            same("0 [" + base + "/c]", get(ephemerals));
        });
        CHECKS.put("async/replies in order, 5000 in flight", (zk, base) -> {
            List<Integer> order = Collections.synchronizedList(new ArrayList<>());
            CompletableFuture<Integer> last = new CompletableFuture<>();
            for (int i = 0; i < 5000; i++) {
                int number = i;
                if (i % 3 == 0) {
                    zk.setData(base, bytes("" + i), -1, (rc, p, c, stat) -> order.add(number), null);
                } else {
                    zk.getData(base, false, (rc, p, c, data, stat) -> order.add(number), null);
                }
            }
            zk.sync(base, (rc, path, context) -> last.complete(rc), null);
            same(0, get(last));
            same(5000, order.size());
            for (int i = 0; i < 5000; i++) {
                same(i, order.get(i));
            }
        });
        CHECKS.put("async/a read sees the own write before it", (zk, base) -> {
            CompletableFuture<String> seen = new CompletableFuture<>();
            zk.setData(base, bytes("mine"), -1, (rc, p, c, stat) -> { }, null);
            zk.getData(base, false, (rc, p, c, data, stat) -> seen.complete(text(data)), null);
            same("mine", get(seen));
        });
    }

    static void multis() {
        CHECKS.put("multi/all kinds of operation", (zk, base) -> {
            zk.create(base + "/old", bytes("o"), OPEN, CreateMode.PERSISTENT);
            List<OpResult> results = zk.multi(Arrays.asList(
                Op.check(base + "/old", 0),
                Op.create(base + "/new", bytes("n"), OPEN, CreateMode.PERSISTENT),
                Op.create(base + "/new/s-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL),
                Op.create(base + "/box", null, OPEN, CreateMode.CONTAINER),
                Op.create(base + "/ttl", null, OPEN, CreateMode.PERSISTENT_WITH_TTL, 60_000),
                Op.setData(base + "/new", bytes("nn"), 0),
                Op.delete(base + "/old", 0)));
            same(7, results.size());
            same(base + "/new", ((OpResult.CreateResult) results.get(1)).getPath());
            same(base + "/new/s-0000000000", ((OpResult.CreateResult) results.get(2)).getPath());
            same(1, ((OpResult.SetDataResult) results.get(5)).getStat().getVersion());
            same(null, zk.exists(base + "/old", false));
            same("nn", text(zk.getData(base + "/new", false, null)));
        });
        CHECKS.put("multi/failure rolls back and names the operation", (zk, base) -> {
            try {
                zk.multi(Arrays.asList(
                    Op.create(base + "/1", null, OPEN, CreateMode.PERSISTENT),
                    Op.delete(base + "/missing", -1),
                    Op.create(base + "/2", null, OPEN, CreateMode.PERSISTENT)));
                throw new AssertionError("the multi went through");
            } catch (KeeperException error) {
                same(Code.NONODE, error.code());
                List<Integer> codes = new ArrayList<>();
                for (OpResult result : error.getResults()) {
                    codes.add(((OpResult.ErrorResult) result).getErr());
                }
                same(Arrays.asList(0, -101, -2), codes);
            }
            same(Collections.emptyList(), zk.getChildren(base, false));
        });
        CHECKS.put("multi/empty", (zk, base) -> same(0, zk.multi(new ArrayList<>()).size()));
        CHECKS.put("multi/asynchronous", (zk, base) -> {
            CompletableFuture<String> done = new CompletableFuture<>();
            zk.multi(Arrays.asList(Op.create(base + "/x", null, OPEN, CreateMode.PERSISTENT), Op.check(base + "/x", 0)),
                (rc, path, context, results) -> done.complete(rc + " " + results.size()), null);
            same("0 2", get(done));
        });
        CHECKS.put("multi/transaction", (zk, base) -> {
            zk.transaction().create(base + "/t", bytes("t"), OPEN, CreateMode.PERSISTENT)
                .setData(base + "/t", bytes("u"), 0).check(base + "/t", 1).commit();
            same("u", text(zk.getData(base + "/t", false, null)));
            zk.transaction().delete(base + "/t", 1).commit();
            same(null, zk.exists(base + "/t", false));
        });
        CHECKS.put("multi/reads", (zk, base) -> {
            zk.create(base + "/r", bytes("r"), OPEN, CreateMode.PERSISTENT);
            List<OpResult> results = zk.multi(Arrays.asList(
                Op.getData(base + "/r"), Op.getChildren(base), Op.getData(base + "/missing"), Op.getChildren(base + "/r")));
            same("r", text(((OpResult.GetDataResult) results.get(0)).getData()));
            same(Collections.singletonList("r"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
            same(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
            same(Collections.emptyList(), ((OpResult.GetChildrenResult) results.get(3)).getChildren());
        });
        CHECKS.put("multi/all or nothing is seen", (zk, base) -> {
            List<Op> ops = new ArrayList<>();
            for (int i = 0; i < 500; i++) {
                ops.add(Op.create(base + "/n" + i, new byte[100], OPEN, CreateMode.PERSISTENT));
            }
            same(500, zk.multi(ops).size());
            same(500, zk.getChildren(base, false).size());
            TreeSet<Long> zxids = new TreeSet<>();
            for (int i = 0; i < 500; i += 50) {
                zxids.add(zk.exists(base + "/n" + i, false).getCzxid());
            }
            same(1, zxids.size());
        });
    }

    static void watches() {
        CHECKS.put("watch/exists, created and deleted", (zk, base) -> {
            Events events = new Events();
            zk.exists(base + "/w", events);
            zk.create(base + "/w", null, OPEN, CreateMode.PERSISTENT);
            events.expect(EventType.NodeCreated, base + "/w");
            zk.exists(base + "/w", events);
            zk.delete(base + "/w", -1);
            events.expect(EventType.NodeDeleted, base + "/w");
            events.expectNone();
        });
        CHECKS.put("watch/getData and getChildren fire once", (zk, base) -> {
            Events events = new Events();
            zk.getData(base, events, null);
            zk.getChildren(base, events);
            zk.setData(base, bytes("1"), -1);
            events.expect(EventType.NodeDataChanged, base);
            zk.create(base + "/c", null, OPEN, CreateMode.PERSISTENT);
            events.expect(EventType.NodeChildrenChanged, base);
            zk.setData(base, bytes("2"), -1);
            zk.delete(base + "/c", -1);
            zk.sync(base);
            events.expectNone();
        });
        CHECKS.put("watch/default watcher", (zk, base) -> {
            Events events = new Events();
            try (ZooKeeper other = connect("", events)) {
                other.exists(base + "/d", true);
                other.getChildren(base, true);
                zk.create(base + "/d", null, OPEN, CreateMode.PERSISTENT);
                events.expect(EventType.NodeCreated, base + "/d");
                events.expect(EventType.NodeChildrenChanged, base);
            }
        });
        CHECKS.put("watch/event zxid is the change's", (zk, base) -> {
            Events events = new Events();
            zk.getData(base, events, null);
            Stat stat = zk.setData(base, bytes("z"), -1);
            WatchedEvent event = events.queue.poll(WAIT_S, TimeUnit.SECONDS);
            same(stat.getMzxid(), event.getZxid());
        });
        CHECKS.put("watch/persistent", (zk, base) -> {
            Events events = new Events();
            zk.addWatch(base, events, AddWatchMode.PERSISTENT);
            for (int i = 0; i < 3; i++) {
                zk.setData(base, bytes("" + i), -1);
                events.expect(EventType.NodeDataChanged, base);
            }
            zk.create(base + "/c", null, OPEN, CreateMode.PERSISTENT);
            events.expect(EventType.NodeChildrenChanged, base);
            zk.setData(base + "/c", bytes("x"), -1);
            zk.sync(base);
            events.expectNone();
        });
        CHECKS.put("watch/persistent recursive", (zk, base) -> {
            Events events = new Events();
            zk.addWatch(base, events, AddWatchMode.PERSISTENT_RECURSIVE);
            zk.create(base + "/a", null, OPEN, CreateMode.PERSISTENT);
            events.expect(EventType.NodeCreated, base + "/a");
            zk.create(base + "/a/b", null, OPEN, CreateMode.PERSISTENT);
            events.expect(EventType.NodeCreated, base + "/a/b");
            zk.setData(base + "/a/b", bytes("x"), -1);
            events.expect(EventType.NodeDataChanged, base + "/a/b");
            zk.delete(base + "/a/b", -1);
            events.expect(EventType.NodeDeleted, base + "/a/b");
            zk.delete(base + "/a", -1);
            events.expect(EventType.NodeDeleted, base + "/a");
            events.expectNone();
        });
        CHECKS.put("watch/addWatch asynchronous and default watcher", (zk, base) -> {
            Events events = new Events();
            try (ZooKeeper other = connect("", events)) {
                CompletableFuture<Integer> done = new CompletableFuture<>();
                other.addWatch(base, AddWatchMode.PERSISTENT, (rc, p, c) -> done.complete(rc), null);
                same(0, get(done));
                zk.setData(base, bytes("x"), -1);
                events.expect(EventType.NodeDataChanged, base);
            }
        });
        CHECKS.put("watch/removeWatches of every type", (zk, base) -> {
            Events data = new Events();
            Events child = new Events();
            Events persistent = new Events();
            zk.getData(base, data, null);
            zk.getChildren(base, child);
            zk.removeWatches(base, data, WatcherType.Data, false);
            data.expect(EventType.DataWatchRemoved, base);
            zk.removeWatches(base, child, WatcherType.Children, false);
            child.expect(EventType.ChildWatchRemoved, base);
            zk.addWatch(base, persistent, AddWatchMode.PERSISTENT);
            zk.removeWatches(base, persistent, WatcherType.Any, false);
            persistent.expect(EventType.PersistentWatchRemoved, base);
            fails(Code.NOWATCHER, () -> { zk.removeWatches(base, data, WatcherType.Data, false); return null; });
            zk.setData(base, bytes("x"), -1);
            zk.create(base + "/c", null, OPEN, CreateMode.PERSISTENT);
            zk.sync(base);
            data.expectNone();
            child.expectNone();
            persistent.expectNone();
        });
        CHECKS.put("watch/removeAllWatches", (zk, base) -> {
            Events one = new Events();
            Events two = new Events();
            zk.getData(base, one, null);
            zk.getData(base, two, null);
            CompletableFuture<Integer> done = new CompletableFuture<>();
            zk.removeAllWatches(base, WatcherType.Any, false, (rc, p, c) -> done.complete(rc), null);
            same(0, get(done));
            one.expect(EventType.DataWatchRemoved, base);
            two.expect(EventType.DataWatchRemoved, base);
            zk.setData(base, bytes("x"), -1);
            zk.sync(base);
            one.expectNone();
        });
        CHECKS.put("watch/of another session's ephemeral", (zk, base) -> {
            Events events = new Events();
            ZooKeeper other = connect("", null);
            other.create(base + "/e", null, OPEN, CreateMode.EPHEMERAL);
            zk.exists(base + "/e", events);
            other.close();
            events.expect(EventType.NodeDeleted, base + "/e");
        });
        CHECKS.put("watch/not sent without READ", (zk, base) -> {
            Events events = new Events();
            try (ZooKeeper owner = connect("", null)) {
                owner.addAuthInfo("digest", bytes("owner:pw"));
                zk.addWatch(base, events, AddWatchMode.PERSISTENT_RECURSIVE);
                owner.create(base + "/secret", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
                owner.setData(base + "/secret", bytes("x"), -1);
                owner.create(base + "/public", null, OPEN, CreateMode.PERSISTENT);
                events.expect(EventType.NodeCreated, base + "/public");
                owner.delete(base + "/secret", -1);
                owner.delete(base + "/public", -1);
                events.expect(EventType.NodeDeleted, base + "/public");
                events.expectNone();
            }
        });
    }

    static void acls() {
        CHECKS.put("acl/getACL and setACL", (zk, base) -> {
            Stat stat = new Stat();
            same(OPEN, zk.getACL(base, stat));
            same(0, stat.getAversion());
            List<ACL> readOnly = Ids.READ_ACL_UNSAFE;
            zk.create(base + "/r", null, readOnly, CreateMode.PERSISTENT);
            same(readOnly, zk.getACL(base + "/r", null));
            fails(Code.NOAUTH, () -> zk.setData(base + "/r", bytes("x"), -1));
            fails(Code.NOAUTH, () -> zk.create(base + "/r/c", null, OPEN, CreateMode.PERSISTENT));
            fails(Code.NOAUTH, () -> zk.setACL(base + "/r", OPEN, -1));
            fails(Code.BADVERSION, () -> zk.setACL(base, OPEN, 7));
            fails(Code.NONODE, () -> zk.getACL(base + "/no", null));
            fails(Code.INVALIDACL, () -> zk.setACL(base, Collections.singletonList(new ACL(31, new Id("x", "y"))), -1));
        });
        CHECKS.put("acl/digest", (zk, base) -> {
            zk.addAuthInfo("digest", bytes("alice:pw"));
            zk.create(base + "/a", bytes("mine"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            same(Collections.singletonList(new ACL(Perms.ALL, new Id("digest", digest("alice:pw")))), zk.getACL(base + "/a", null));
            try (ZooKeeper other = connect("", null)) {
                fails(Code.NOAUTH, () -> other.getData(base + "/a", false, null));
                fails(Code.NOAUTH, () -> other.getChildren(base + "/a", false));
                fails(Code.NOAUTH, () -> other.getACL(base + "/a", null));
                fails(Code.NOAUTH, () -> other.exists(base + "/a", false));
                other.addAuthInfo("digest", bytes("alice:pw"));
                same("mine", text(other.getData(base + "/a", false, null)));
            }
        });
        CHECKS.put("acl/hashes are masked without ADMIN", (zk, base) -> {
            zk.addAuthInfo("digest", bytes("alice:pw"));
            List<ACL> acl = Arrays.asList(new ACL(Perms.ALL, new Id("digest", digest("alice:pw"))), new ACL(Perms.READ, Ids.ANYONE_ID_UNSAFE));
            zk.create(base + "/m", null, acl, CreateMode.PERSISTENT);
            same(acl, zk.getACL(base + "/m", null));
            try (ZooKeeper other = connect("", null)) {
                same("alice:x", other.getACL(base + "/m", null).get(0).getId().getId());
            }
        });
        CHECKS.put("acl/ip", (zk, base) -> {
            zk.create(base + "/near", bytes("n"), Collections.singletonList(new ACL(31, new Id("ip", "127.0.0.0/8"))), CreateMode.PERSISTENT);
            zk.create(base + "/far", bytes("f"), Collections.singletonList(new ACL(31, new Id("ip", "10.1.2.3"))), CreateMode.PERSISTENT);
            same("n", text(zk.getData(base + "/near", false, null)));
            fails(Code.NOAUTH, () -> zk.getData(base + "/far", false, null));
        });
        CHECKS.put("acl/super user", (zk, base) -> {
            zk.create(base + "/closed", bytes("c"), Collections.singletonList(new ACL(31, new Id("ip", "10.1.2.3"))), CreateMode.PERSISTENT);
            try (ZooKeeper root = connect("", null)) {
                root.addAuthInfo("digest", bytes("super:test"));
                same("c", text(root.getData(base + "/closed", false, null)));
                root.delete(base + "/closed", -1);
            }
        });
        CHECKS.put("acl/delete needs the parent's permission", (zk, base) -> {
            zk.create(base + "/p", null, OPEN, CreateMode.PERSISTENT);
            zk.create(base + "/p/c", null, OPEN, CreateMode.PERSISTENT);
            zk.setACL(base + "/p", Collections.singletonList(new ACL(Perms.ALL & ~Perms.DELETE, Ids.ANYONE_ID_UNSAFE)), -1);
            fails(Code.NOAUTH, () -> { zk.delete(base + "/p/c", -1); return null; });
            zk.setACL(base + "/p", OPEN, -1);
            zk.delete(base + "/p/c", -1);
        });
    }

    static void sessions() {
        CHECKS.put("session/resume with id and password", (zk, base) -> {
            ZooKeeper first = connect("", null);
            first.create(base + "/e", null, OPEN, CreateMode.EPHEMERAL);
            CountDownLatch connected = new CountDownLatch(1);
            ZooKeeper second = new ZooKeeper(servers, TIMEOUT_MS, event -> {
                if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                    connected.countDown();
                }
            }, first.getSessionId(), first.getSessionPasswd());
            that(connected.await(WAIT_S, TimeUnit.SECONDS), "not resumed");
            same(first.getSessionId(), second.getSessionId());
            same(second.getSessionId(), second.exists(base + "/e", false).getEphemeralOwner());
            second.close();
            gone(zk, base + "/e");
            first.close();
        });
        CHECKS.put("session/wrong password expires", (zk, base) -> {
            CountDownLatch expired = new CountDownLatch(1);
            ZooKeeper other = new ZooKeeper(servers, TIMEOUT_MS, event -> {
                if (event.getState() == Watcher.Event.KeeperState.Expired) {
                    expired.countDown();
                }
            }, 0x1234567L, new byte[16]);
            that(expired.await(WAIT_S, TimeUnit.SECONDS), "not expired");
            other.close();
        });
        CHECKS.put("session/ephemerals go on close", (zk, base) -> {
            ZooKeeper other = connect("", null);
            other.create(base + "/e1", null, OPEN, CreateMode.EPHEMERAL);
            other.create(base + "/e2", null, OPEN, CreateMode.EPHEMERAL);
            other.close();
            zk.sync(base);
            same(Collections.emptyList(), zk.getChildren(base, false));
        });
        CHECKS.put("session/timeout is negotiated", (zk, base) -> same(TIMEOUT_MS, zk.getSessionTimeout()));
        CHECKS.put("session/chroot", (zk, base) -> {
            try (ZooKeeper rooted = connect(base, null)) {
                Events events = new Events();
                rooted.exists("/in", events);
                same("/in", rooted.create("/in", bytes("x"), OPEN, CreateMode.PERSISTENT));
                events.expect(EventType.NodeCreated, "/in");
                same("x", text(zk.getData(base + "/in", false, null)));
                same("/in/0000000000", rooted.create("/in/", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
                rooted.create("/e", null, OPEN, CreateMode.EPHEMERAL);
                same(1, rooted.multi(Collections.singletonList(Op.check("/in", 0))).size());
            }
        });
        CHECKS.put("session/watches live through a reconnect", (zk, base) -> {
            Events events = new Events();
            try (ZooKeeper other = connect("", null)) {
                TreeSet<String> waiting = new TreeSet<>();
                for (int i = 0; i < 1000; i++) {
                    // Long names, so that the list is sent in more than one packet.
                    String path = base + "/" + String.join("", Collections.nCopies(20, "long name ")) + i;
                    zk.create(path, null, OPEN, CreateMode.PERSISTENT, (rc, p, c, n) -> { }, null);
                    waiting.add(path);
                }
                zk.sync(base);
                for (String path : waiting) {
                    other.getData(path, events, null);
                }
                other.addWatch(base + "/later", events, AddWatchMode.PERSISTENT);
                long session = other.getSessionId();
                other.getTestable().closeSocket();
                for (String path : waiting) {
                    zk.setData(path, bytes("x"), -1, (rc, p, c, stat) -> { }, null);
                }
                zk.sync(base);
                same(true, again(() -> other.exists(base, false)) != null);
                same(session, other.getSessionId());
                zk.create(base + "/later", null, OPEN, CreateMode.PERSISTENT);
                waiting.add(base + "/later");
                while (!waiting.isEmpty()) {
                    WatchedEvent event = events.queue.poll(WAIT_S, TimeUnit.SECONDS);
                    that(event != null, waiting.size() + " watches did not fire");
                    that(event.getType() == EventType.None || waiting.remove(event.getPath()), "twice " + event);
                }
            }
        });
        CHECKS.put("session/update of the server list", (zk, base) -> {
            try (ZooKeeper other = connect("", null)) {
                other.updateServerList(servers);
                same(true, again(() -> other.exists(base, false)) != null);
            }
        });
        CHECKS.put("session/reconfig is refused", (zk, base) -> {
            try (ZooKeeperAdmin admin = new ZooKeeperAdmin(servers, TIMEOUT_MS, event -> { })) {
                fails(Code.RECONFIGDISABLED, () -> admin.reconfigure("server.9=127.0.0.1:1:2;3", null, null, -1, new Stat()));
            }
        });
    }

    static void limits() {
        CHECKS.put("limit/data of almost 1 MiB", (zk, base) -> {
            byte[] data = new byte[1_040_000];
            Arrays.fill(data, (byte) 7);
            zk.create(base + "/big", data, OPEN, CreateMode.PERSISTENT);
            that(Arrays.equals(data, zk.getData(base + "/big", false, null)), "other bytes");
        });
        CHECKS.put("limit/2000 children", (zk, base) -> {
            CountDownLatch done = new CountDownLatch(2000);
            for (int i = 0; i < 2000; i++) {
                zk.create(base + "/child-" + i, null, OPEN, CreateMode.PERSISTENT, (rc, p, c, n) -> done.countDown(), null);
            }
            that(done.await(60, TimeUnit.SECONDS), "not all created");
            same(2000, zk.getChildren(base, false).size());
            same(2000, zk.exists(base, false).getNumChildren());
        });
        CHECKS.put("limit/100 levels", (zk, base) -> {
            StringBuilder path = new StringBuilder(base);
            for (int i = 0; i < 100; i++) {
                path.append("/").append(i);
                zk.create(path.toString(), null, OPEN, CreateMode.PERSISTENT);
            }
            same(100, zk.getAllChildrenNumber(base));
        });
    }

    static void play(String name, Check check, int number) {
        String base = String.format("/probe-%03d", number);
        try (ZooKeeper zk = connect("", null)) {
            zk.create(base, bytes("base"), OPEN, CreateMode.PERSISTENT);
            check.run(zk, base);
            System.out.println("ok " + name);
        } catch (Throwable error) {
            failed++;
            System.out.println("FAILED " + name + ": " + error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        servers = arguments[0];
        int number = 0;
        for (Map.Entry<String, Check> entry : CHECKS.entrySet()) {
            play(entry.getKey(), entry.getValue(), number++);
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
