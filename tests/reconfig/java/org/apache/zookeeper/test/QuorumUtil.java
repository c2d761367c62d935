package org.apache.zookeeper.test;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.StringReader;
import java.lang.reflect.Field;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.PortAssignment;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.quorum.Follower;
import org.apache.zookeeper.server.quorum.Leader;
import org.apache.zookeeper.server.quorum.MultipleAddresses;
import org.apache.zookeeper.server.quorum.Observer;
import org.apache.zookeeper.server.quorum.QuorumPeer;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/**
 * Stands in front of Apache's class of this name, so that its tests of reconfiguration run against other servers:
 * those that the command in the system property zabra.command starts, one process each.  What its tests look at in
 * a QuorumPeer is answered from outside: by srvr, and by the view that the server's clients are shown.
 */
public class QuorumUtil {
    private static final long UP_MS = 60_000;
    private static final String SUPER_DIGEST = "zookeeper.DigestAuthenticationProvider.superDigest";

    public static class PeerStruct {
        public int id;
        public QuorumPeer peer;
        public File dataDir;
        public int clientPort;
        Process process;
    }

    /** Answers for a server in another process. */
    static class Outside extends QuorumPeer {
        final int id;
        final String ownLine;
        volatile int clientPort;
        volatile String mode = "";
        volatile String view;
        volatile boolean reconfigEnabled;

        Outside(int id, int clientPort, String line, String view) throws Exception {
            this.id = id;
            this.ownLine = line;
            this.clientPort = clientPort;
            this.view = view;
        }

        private QuorumServer self() {
            QuorumServer found = servers().get((long) id);
            try {
                return found != null ? found : new QuorumServer(id, ownLine);
            } catch (QuorumPeerConfig.ConfigException error) {
                throw new IllegalStateException(error);
            }
        }

        private Map<Long, QuorumServer> servers() {
            return getQuorumVerifier().getAllMembers();
        }

        @Override
        public QuorumVerifier getQuorumVerifier() {
            String text = config(clientPort);
            view = text != null ? text : view;
            try {
                Properties lines = new Properties();
                lines.load(new StringReader(view));
                return QuorumPeerConfig.parseDynamicConfig(lines, 3, false, false, null);
            } catch (IOException | QuorumPeerConfig.ConfigException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public Map<Long, QuorumServer> getView() {
            return servers();
        }

        @Override
        public MultipleAddresses getQuorumAddress() {
            return self().addr;
        }

        @Override
        public MultipleAddresses getElectionAddress() {
            return self().electionAddr;
        }

        @Override
        public InetSocketAddress getClientAddress() {
            return self().clientAddr;
        }

        @Override
        public int getClientPort() {
            QuorumServer own = servers().get((long) id);
            if (own != null && own.clientAddr != null) {
                clientPort = own.clientAddr.getPort();
            }
            return clientPort;
        }

        @Override
        public long getMyId() {
            return id;
        }

        @Override
        public boolean isReconfigEnabled() {
            return reconfigEnabled;
        }

        @Override
        public synchronized ServerState getPeerState() {
            look();
            switch (mode) {
            case "leader":
                return ServerState.LEADING;
            case "follower":
                return ServerState.FOLLOWING;
            case "observer":
                return ServerState.OBSERVING;
            default:
                return ServerState.LOOKING;
            }
        }

        @Override
        public LearnerType getLearnerType() {
            return getPeerState() == ServerState.OBSERVING ? LearnerType.OBSERVER : LearnerType.PARTICIPANT;
        }

        /** Asks the server what it is, and has the fields that tests read say so. */
        void look() {
            String answer = word(clientPort, "srvr");
            int at = answer.indexOf("Mode: ");
            mode = at < 0 ? "" : answer.substring(at + 6).split("\\s")[0];
            leader = mode.equals("leader") ? (Leader) (leader != null ? leader : bare(Leader.class)) : null;
            follower = mode.equals("follower") ? (Follower) (follower != null ? follower : bare(Follower.class)) : null;
            observer = mode.equals("observer") ? (Observer) (observer != null ? observer : bare(Observer.class)) : null;
        }
    }

    public final int N;
    public final int ALL;
    public boolean disableJMXTest;
    private final Map<Integer, PeerStruct> peers = new HashMap<>();
    private final Path folder;
    private volatile boolean ended;

    public QuorumUtil(int n) throws RuntimeException {
        this(n, 3);
    }

    public QuorumUtil(int n, int syncLimit) throws RuntimeException {
        N = n;
        ALL = 2 * n + 1;
        try {
            folder = Files.createTempDirectory(Path.of(System.getProperty("zabra.folder")), "quorum-");
            List<String> lines = new ArrayList<>();
            List<Integer> ports = new ArrayList<>();
            for (int id = 1; id <= ALL; id++) {
                int port = PortAssignment.unique();
                ports.add(port);
                lines.add("server." + id + "=127.0.0.1:" + PortAssignment.unique() + ":" + PortAssignment.unique()
                    + ":participant;127.0.0.1:" + port);
            }
            for (int id = 1; id <= ALL; id++) {
                make(id, ports.get(id - 1), lines, syncLimit);
            }
        } catch (Exception error) {
            throw new RuntimeException(error);
        }
        Thread watcher = new Thread(this::watch, "modes");
        watcher.setDaemon(true);
        watcher.start();
    }

    private void make(int id, int port, List<String> lines, int syncLimit) throws Exception {
        PeerStruct made = new PeerStruct();
        made.id = id;
        made.clientPort = port;
        made.dataDir = folder.resolve("data-" + id).toFile();
        Files.createDirectories(made.dataDir.toPath());
        Files.writeString(made.dataDir.toPath().resolve("myid"), id + "\n");
        String view = String.join("\n", lines) + "\nversion=0";
        made.peer = new Outside(id, port, lines.get(id - 1).split("=", 2)[1], view);
        List<String> cfg = new ArrayList<>(lines);
        cfg.addAll(Arrays.asList(
            "tickTime=500", "forceSync=no", "initLimit=30", "syncLimit=" + 4 * syncLimit, "dataDir=" + made.dataDir,
            "standaloneEnabled=false", "admin.enableServer=false", "4lw.commands.whitelist=*", "maxClientCnxns=0"));
        Files.write(cfg(id), cfg);
        peers.put(id, made);
    }

    private Path cfg(int id) {
        return folder.resolve("zoo-" + id + ".cfg");
    }

    private void watch() {
        while (!ended) {
            for (PeerStruct one : peers.values()) {
                ((Outside) one.peer).look();
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException error) {
                return;
            }
        }
    }

    public PeerStruct getPeer(int id) {
        return peers.get(id);
    }

    public void startAll() throws IOException {
        for (int id = 1; id <= ALL; id++) {
            start(id);
        }
        for (int id = 1; id <= ALL; id++) {
            up(id);
        }
    }

    public void start(int id) throws IOException {
        PeerStruct one = peers.get(id);
        if (one.process != null && one.process.isAlive()) {
            return;
        }
        List<String> cfg = new ArrayList<>();
        for (String line : Files.readAllLines(cfg(id))) {
            if (!line.startsWith("reconfigEnabled=") && !line.startsWith("DigestAuthenticationProvider.superDigest=")) {
                cfg.add(line);
            }
        }
        boolean enabled = QuorumPeerConfig.isReconfigEnabled();
        ((Outside) one.peer).reconfigEnabled = enabled;
        cfg.add("reconfigEnabled=" + enabled);
        if (System.getProperty(SUPER_DIGEST) != null) {
            cfg.add("DigestAuthenticationProvider.superDigest=" + System.getProperty(SUPER_DIGEST));
        }
        Files.write(cfg(id), cfg);
        List<String> command = new ArrayList<>(Arrays.asList(System.getProperty("zabra.command").split(" ")));
        command.add(cfg(id).toString());
        File log = folder.resolve("log-" + id).toFile();
        one.process = new ProcessBuilder(command).redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log)).start();
        Process process = one.process;
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
    }

    private void up(int id) {
        long until = System.currentTimeMillis() + UP_MS;
        Outside peer = (Outside) peers.get(id).peer;
        do {
            peer.look();
        } while (peer.mode.isEmpty() && System.currentTimeMillis() < until);
        if (peer.mode.isEmpty()) {
            throw new IllegalStateException("server " + id + " does not serve; " + folder);
        }
    }

    public void restart(int id) throws IOException {
        start(id);
        up(id);
    }

    public void shutdown(int id) {
        PeerStruct one = peers.get(id);
        if (one.process != null) {
            one.process.destroyForcibly();
            try {
                one.process.waitFor();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
            ((Outside) one.peer).look();
        }
    }

    public void shutdownAll() {
        for (int id = 1; id <= ALL; id++) {
            shutdown(id);
        }
    }

    public void tearDown() throws Exception {
        ended = true;
        shutdownAll();
    }

    public String getConnString() {
        List<String> out = new ArrayList<>();
        for (int id = 1; id <= ALL; id++) {
            out.add("127.0.0.1:" + peers.get(id).clientPort);
        }
        return String.join(",", out);
    }

    /** An object of a class whose constructor asks for a running server. */
    static Object bare(Class<?> kind) {
        try {
            Field field = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
            field.setAccessible(true);
            Object unsafe = field.get(null);
            return unsafe.getClass().getMethod("allocateInstance", Class.class).invoke(unsafe, kind);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /** The answer to a four-letter word; empty where nobody listens. */
    static String word(int port, String word) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress("127.0.0.1", port), 1_000);
            socket.setSoTimeout(2_000);
            OutputStream out = socket.getOutputStream();
            out.write(word.getBytes(StandardCharsets.US_ASCII));
            out.flush();
            InputStream in = socket.getInputStream();
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException error) {
            return "";
        }
    }

    /** The view a server shows its clients; null while it serves nobody. */
    static String config(int port) {
        if (!word(port, "srvr").contains("Mode: ")) {
            return null;
        }
        CountDownLatch connected = new CountDownLatch(1);
        try (ZooKeeper client = new ZooKeeper("127.0.0.1:" + port, 10_000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        })) {
            return connected.await(10, TimeUnit.SECONDS)
                ? new String(client.getConfig(false, new Stat()), StandardCharsets.UTF_8) : null;
        } catch (Exception error) {
            return null;
        }
    }
}
