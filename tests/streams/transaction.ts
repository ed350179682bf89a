let made = 0;

/** A transaction at a time of day; an approved payment of 10.00 EUR by account "a" unless told. */
export function transaction(clock: string, fields: Record<string, unknown> = {}): Record<string, unknown> {
  const id = `0b9d7e52-4d5f-4b2e-9f10-${String(made++).padStart(12, "0")}`;
  return {
    transaction_id: id,
    account_id: "a",
    merchant: "Bakery",
    category: "groceries",
    status: "approved",
    amount: "10.00",
    currency: "EUR",
    country: "DE",
    event_time: `2026-05-01T${clock}Z`,
    ...fields,
  };
}
