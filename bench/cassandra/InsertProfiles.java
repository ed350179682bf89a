import com.datastax.oss.driver.api.core.ConsistencyLevel;
import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.BatchType;
import com.datastax.oss.driver.api.core.cql.BoundStatement;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.Statement;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;

/**
 * The rows of bench/cases/cassandra.ts by the Java driver, asynchronously, so many requests under way at a time.
 *
 *     java -cp 'JARS/*' InsertProfiles.java HOST:PORT DATACENTER KEYSPACE TABLE
 *
 * Of each line `FROM COUNT ROWS_PER_REQUEST REQUESTS` on stdin it writes the rows [FROM, FROM + COUNT) and prints the seconds it took.
 */
public class InsertProfiles {
  public static void main(String[] args) throws Exception {
    String[] address = args[0].split(":");
    DriverConfigLoader config = DriverConfigLoader.programmaticBuilder()
        .withString(DefaultDriverOption.REQUEST_CONSISTENCY, "LOCAL_QUORUM")
        .withBoolean(DefaultDriverOption.REQUEST_DEFAULT_IDEMPOTENCE, true)
        .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(10))
        .withInt(DefaultDriverOption.CONNECTION_POOL_LOCAL_SIZE, 2)
        .withInt(DefaultDriverOption.CONNECTION_MAX_REQUESTS, 4096)
        .build();
    try (CqlSession session = CqlSession.builder()
        .addContactPoint(new InetSocketAddress(address[0], Integer.parseInt(address[1])))
        .withLocalDatacenter(args[1])
        .withConfigLoader(config)
        .build()) {
      PreparedStatement insert = session.prepare("INSERT INTO " + args[2] + "." + args[3]
          + " (user_id, name, email, country, updated_at, kafka_partition, kafka_offset, kafka_timestamp)"
          + " VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?");
      System.out.println("ready");
      BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        long from = Long.parseLong(words[0]);
        long count = Long.parseLong(words[1]);
        System.out.println(write(session, insert, from, count, Integer.parseInt(words[2]), Integer.parseInt(words[3])));
      }
    }
  }

  private static double write(CqlSession session, PreparedStatement insert, long from, long count, int size, int requests)
      throws Exception {
    Semaphore free = new Semaphore(requests);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    long began = System.nanoTime();
    for (long at = from; at < from + count; at += size) {
      long end = Math.min(from + count, at + size);
      Statement<?> request;
      if (size == 1) {
        request = row(insert, at);
      } else {
        List<BoundStatement> rows = new ArrayList<>();
        for (long i = at; i < end; i++) rows.add(row(insert, i));
        request = BatchStatement.newInstance(BatchType.UNLOGGED).addAll(rows);
      }
      free.acquire();
      session.executeAsync(request).whenComplete((result, error) -> {
        if (error != null) failure.compareAndSet(null, error);
        free.release();
      });
    }
    free.acquire(requests);
    if (failure.get() != null) throw new RuntimeException(failure.get());
    return (System.nanoTime() - began) / 1e9;
  }

  private static BoundStatement row(PreparedStatement insert, long i) {
    return insert.bind("user-" + i, "Name of " + i, "user" + i + "@example.com", "DE",
        Instant.ofEpochMilli(1_700_000_000_000L + i), 0, i, Instant.ofEpochMilli(1_700_000_000_000L + i), 2 * i);
  }
}
