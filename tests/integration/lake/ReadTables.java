import java.io.PrintWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * Reads Delta tables with Spark. The first argument is a JSON file: a list of {"table": folder, "version": number or null, "out":
 * file}; each `out` gets a line with {"version", "rows"} and then a line per row, as read_tables.ts says.
 */
public class ReadTables {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    SparkSession spark = SparkSession.builder().master("local[1]").appName("tailrace-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.datetime.java8API.enabled", "true")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.warehouse.dir", args[1])
        .getOrCreate();
    try {
      for (JsonNode question : JSON.readTree(Path.of(args[0]).toFile())) read(spark, question);
    } finally {
      spark.stop();
    }
  }

  private static void read(SparkSession spark, JsonNode question) throws Exception {
    String table = question.get("table").asText();
    JsonNode version = question.get("version");
    var reader = spark.read().format("delta");
    if (!version.isNull()) reader = reader.option("versionAsOf", version.asLong());
    Dataset<Row> rows = reader.load(table);
    List<Row> all = rows.collectAsList();
    long at = version.asLong();
    if (version.isNull()) {
      // Counts come from the log's statistics where it has them: they must be what the files have.
      long counted = rows.count();
      if (counted != all.size()) throw new IllegalStateException(table + ": counts " + counted + ", reads " + all.size());
      at = spark.sql("DESCRIBE HISTORY delta.`" + table + "` LIMIT 1").first().getAs("version");
    }
    try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(question.get("out").asText()), StandardCharsets.UTF_8))) {
      out.println(JSON.writeValueAsString(Map.of("version", at, "rows", all.size())));
      for (Row row : all) out.println(JSON.writeValueAsString(canonical(row)));
    }
  }

  private static Object canonical(Object value) {
    if (value == null || value instanceof Boolean || value instanceof String) return value;
    if (value instanceof Float || value instanceof Double) {
      double number = ((Number) value).doubleValue();
      return Double.isFinite(number) ? (Object) number : Double.isNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
    }
    if (value instanceof BigDecimal decimal) return decimal.toPlainString();
    if (value instanceof Number) return value.toString();
    if (value instanceof byte[] bytes) return HexFormat.of().formatHex(bytes);
    if (value instanceof Instant instant) return String.valueOf(instant.getEpochSecond() * 1_000_000 + instant.getNano() / 1_000);
    if (value instanceof LocalDate) return value.toString();
    if (value instanceof Row row) {
      Map<String, Object> fields = new LinkedHashMap<>();
      String[] names = row.schema().fieldNames();
      for (int i = 0; i < names.length; i++) fields.put(names[i], canonical(row.get(i)));
      return fields;
    }
    if (value instanceof scala.collection.Iterable<?> items) {
      List<Object> list = new ArrayList<>();
      for (var each = items.iterator(); each.hasNext();) list.add(canonical(each.next()));
      return list;
    }
    throw new IllegalStateException(value.getClass() + " is not expected");
  }
}
