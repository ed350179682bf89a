import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;

/**
 * The rows of bench/cases/cassandra.ts by Spark's Cassandra connector with the connector's own settings, on all processors.
 *
 *     java -cp 'JARS/*' InsertProfilesBySpark.java HOST:PORT DATACENTER KEYSPACE TABLE
 *
 * Of each line `FROM COUNT ..` on stdin it writes the rows [FROM, FROM + COUNT) and prints the seconds it took.
 */
public class InsertProfilesBySpark {
  public static void main(String[] args) throws Exception {
    String[] address = args[0].split(":");
    try (SparkSession spark = SparkSession.builder()
        .master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.cassandra.connection.host", address[0])
        .config("spark.cassandra.connection.port", address[1])
        .config("spark.cassandra.connection.localDC", args[1])
        .getOrCreate()) {
      System.out.println("ready");
      BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        long from = Long.parseLong(words[0]);
        long count = Long.parseLong(words[1]);
        long began = System.nanoTime();
        profiles(spark, from, count).write()
            .format("org.apache.spark.sql.cassandra")
            .option("keyspace", args[2])
            .option("table", args[3])
            .option("writetime", "written_at")
            .mode(SaveMode.Append)
            .save();
        System.out.println((System.nanoTime() - began) / 1e9);
      }
    }
  }

  private static Dataset<Row> profiles(SparkSession spark, long from, long count) {
    return spark.range(from, from + count).selectExpr(
        "concat('user-', id) AS user_id",
        "concat('Name of ', id) AS name",
        "concat('user', id, '@example.com') AS email",
        "'DE' AS country",
        "timestamp_millis(1700000000000 + id) AS updated_at",
        "0 AS kafka_partition",
        "id AS kafka_offset",
        "timestamp_millis(1700000000000 + id) AS kafka_timestamp",
        "2 * id AS written_at");
  }
}
