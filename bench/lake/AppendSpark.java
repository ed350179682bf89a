import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;

/**
 * Appends rows to a new Delta table with Spark: AppendSpark TARGET PARTITION_COLUMN FILE... Each Parquet file is held in memory
 * beforehand, and is one append; one of the first file into another table warms the JVM up. Prints {"rows", "seconds"} of the appends.
 */
public class AppendSpark {
  public static void main(String[] args) {
    SparkSession spark = SparkSession.builder().master("local[*]").appName("append")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.warehouse.dir", args[0] + "-warehouse")
        .getOrCreate();
    try {
      List<Dataset<Row>> parts = new ArrayList<>();
      long rows = 0;
      for (int i = 2; i < args.length; i++) {
        Dataset<Row> part = spark.read().parquet(args[i]).cache();
        rows += part.count();
        parts.add(part);
      }
      append(parts.get(0), args[0] + "-warm-up", args[1]);
      long began = System.nanoTime();
      for (Dataset<Row> part : parts) append(part, args[0], args[1]);
      double seconds = (System.nanoTime() - began) / 1e9;
      System.out.println("{\"rows\": " + rows + ", \"seconds\": " + seconds + "}");
    } finally {
      spark.stop();
    }
  }

  private static void append(Dataset<Row> rows, String target, String partition) {
    var writer = rows.write().format("delta").mode(SaveMode.Append);
    if (!partition.isEmpty()) writer = writer.partitionBy(partition);
    writer.save(target);
  }
}
